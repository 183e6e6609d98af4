// Copies of CartPole, stepped together: the physics and the limits of Gymnasium's CartPole-v1.
'use strict';

const GRAVITY = 9.8;
const POLE_MASS = 0.1;
const TOTAL_MASS = 1.1;
const HALF_LENGTH = 0.5;
const POLE_MOMENT = POLE_MASS * HALF_LENGTH;
const FORCE = 10.0;
const SECONDS_PER_STEP = 0.02;
const MAX_POSITION = 2.4;
const MAX_ANGLE = (12 * 2 * Math.PI) / 360;
const MAX_STEPS = 500;

// What an environment shows and takes, and what its peers say of themselves.
const bounds = Float32Array.of(2 * MAX_POSITION, Infinity, 2 * MAX_ANGLE, Infinity);
const observationSpace = {
  box: { dtype: 'DTYPE_FLOAT32', shape: [4], low: bytes(bounds.map((each) => -each)), high: bytes(bounds) },
};
const introduction = {
  hello: { protocol: { major: 1, minor: 0 }, component: 'cartpole.js 1.0' },
  name: `cartpole ${process.pid}`,
  observation_space: observationSpace,
  action_space: { discrete: { num_values: 2, start: 0 } },
};

class CartPoles {
  // `random` returns numbers from 0 to 1.
  constructor(numCopies, random) {
    this.numCopies = numCopies;
    this.random = random;
    this.states = new Float64Array(4 * numCopies);
    this.numSteps = new Int32Array(numCopies);
    this.observations = new Float32Array(4 * numCopies);
    this.rewards = new Float32Array(numCopies).fill(1);
    this.terminated = new Uint8Array(numCopies);
    this.truncated = new Uint8Array(numCopies);
    this.ended = []; // copies whose episode ended in the last step, ascending
    this.finalObservations = new Float32Array(0); // what they really showed last
    for (let copy = 0; copy < numCopies; copy += 1) this.reset(copy);
    this.observations.set(this.states);
  }

  // Step every copy; one whose episode ends shows the first observation of the next one.
  step(actions) {
    this.ended = [];
    for (let copy = 0; copy < this.numCopies; copy += 1) {
      this.move(copy, actions[copy] === 1 ? FORCE : -FORCE);
      const [position, , angle] = this.states.subarray(4 * copy);
      this.terminated[copy] = Math.abs(position) > MAX_POSITION || Math.abs(angle) > MAX_ANGLE ? 1 : 0;
      this.truncated[copy] = this.numSteps[copy] >= MAX_STEPS ? 1 : 0;
      if (this.terminated[copy] || this.truncated[copy]) this.ended.push(copy);
    }
    this.observations.set(this.states);
    this.finalObservations = new Float32Array(4 * this.ended.length);
    this.ended.forEach((copy, place) => {
      this.finalObservations.set(this.observations.subarray(4 * copy, 4 * copy + 4), 4 * place);
      this.reset(copy);
      this.observations.set(this.states.subarray(4 * copy, 4 * copy + 4), 4 * copy);
    });
  }

  move(copy, force) {
    const state = this.states.subarray(4 * copy, 4 * copy + 4);
    const [position, speed, angle, turning] = state;
    const cosine = Math.cos(angle);
    const sine = Math.sin(angle);
    const push = (force + POLE_MOMENT * turning * turning * sine) / TOTAL_MASS;
    const leverage = HALF_LENGTH * (4 / 3 - (POLE_MASS * cosine * cosine) / TOTAL_MASS);
    const turningChange = (GRAVITY * sine - cosine * push) / leverage;
    const speedChange = push - (POLE_MOMENT * turningChange * cosine) / TOTAL_MASS;
    state[0] = position + SECONDS_PER_STEP * speed;
    state[1] = speed + SECONDS_PER_STEP * speedChange;
    state[2] = angle + SECONDS_PER_STEP * turning;
    state[3] = turning + SECONDS_PER_STEP * turningChange;
    this.numSteps[copy] += 1;
  }

  reset(copy) {
    for (let index = 0; index < 4; index += 1) this.states[4 * copy + index] = 0.1 * this.random() - 0.05;
    this.numSteps[copy] = 0;
  }
}

function bytes(array) {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}

module.exports = { CartPoles, introduction };
