// Copies of a line on which two agents try to meet, stepped together: an environment of two agents.
//
//     . . w . . . . r .        the walker moves by up to one place, the rider by up to two
//
// An episode ends when they meet, which earns both 1, and is cut after 6 steps.
'use strict';

const NUM_PLACES = 9;
const MAX_STEPS = 6;

// What each sees: its own place and the other's, from 0 to 1. What each does: how far it moves.
const observationSpace = {
  box: { dtype: 'DTYPE_FLOAT32', shape: [2], low: bytes(Float32Array.of(0, 0)), high: bytes(Float32Array.of(1, 1)) },
};
const agents = [
  { name: 'walker', observationSpace, actionSpace: { discrete: { num_values: 3, start: -1 } } },
  { name: 'rider', observationSpace, actionSpace: { discrete: { num_values: 5, start: -2 } } },
];
const noSpace = { dict: {} };
const introduction = {
  hello: {
    protocol: { major: 1, minor: 1 },
    component: 'meeting.js 1.0',
    capabilities: ['multi_agent'],
    required_capabilities: ['multi_agent'],
  },
  name: `meeting ${process.pid}`,
  observation_space: noSpace,
  action_space: noSpace,
  agents: {
    names: agents.map(({ name }) => name),
    groups: agents.map(({ actionSpace }, slot) => ({
      slots: [slot],
      observation_space: observationSpace,
      action_space: actionSpace,
    })),
  },
};

class Meetings {
  // `random` returns numbers from 0 to 1.
  constructor(numCopies, random) {
    this.numCopies = numCopies;
    this.random = random;
    this.places = new Int32Array(2 * numCopies);
    this.numSteps = new Int32Array(numCopies);
    this.rewards = new Float32Array(numCopies); // the same for both
    this.terminated = new Uint8Array(numCopies);
    this.truncated = new Uint8Array(numCopies);
    for (let copy = 0; copy < numCopies; copy += 1) this.reset(copy);
  }

  // What an agent sees now.
  observe(copy, slot) {
    const last = NUM_PLACES - 1;
    return Float32Array.of(this.places[2 * copy + slot] / last, this.places[2 * copy + 1 - slot] / last);
  }

  // Move both agents of a copy by so much; `reset` begins its next episode.
  step(copy, moves) {
    const places = this.places.subarray(2 * copy, 2 * copy + 2);
    moves.forEach((move, slot) => {
      places[slot] = Math.min(NUM_PLACES - 1, Math.max(0, places[slot] + move));
    });
    this.numSteps[copy] += 1;
    const met = places[0] === places[1];
    this.rewards[copy] = met ? 1 : 0;
    this.terminated[copy] = met ? 1 : 0;
    this.truncated[copy] = !met && this.numSteps[copy] === MAX_STEPS ? 1 : 0;
  }

  reset(copy) {
    const first = Math.floor(NUM_PLACES * this.random());
    const further = 1 + Math.floor((NUM_PLACES - 1) * this.random());
    this.places.set([first, (first + further) % NUM_PLACES], 2 * copy);
    this.numSteps[copy] = 0;
  }
}

function bytes(array) {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}

module.exports = { Meetings, agents, introduction };
