// Random numbers that can be had again.
'use strict';

// A generator of random numbers from 0 to 1 (mulberry32), so that a seed gives the same episodes again.
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// No two runners, and none that is made again, play the same episodes.
function seedOf({ seed, runner, incarnation }) {
  return seed + 7919 * runner + 104729 * incarnation;
}

module.exports = { generator, seedOf };
