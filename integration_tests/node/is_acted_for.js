// CartPole that carries no policy: it sends observations and gets actions (`ActService`).
//
//     node is_acted_for.js HOST:PORT [COPIES]
'use strict';

const cartpole = require('./cartpole.js');
const { generator } = require('./random.js');
const { Stream } = require('./stream.js');

const [address, numCopies = '16'] = process.argv.slice(2);
const environments = new cartpole.CartPoles(Number(numCopies), generator(process.pid));
const startedAt = Date.now();
let numSteps = 0;

const stream = new Stream('ActService', 'Act', address, receive, (reason) => {
  const perSecond = Math.round((1000 * numSteps * environments.numCopies) / (Date.now() - startedAt));
  console.log(`${reason}; ${numSteps * environments.numCopies} steps, ${perSecond} steps/s`);
  process.exitCode = numSteps > 0 ? 0 : 1;
});
stream.send('join', { ...cartpole.introduction, num_environments: environments.numCopies });

function receive(kind, message) {
  if (kind === 'welcome' && message.welcome.refusal) {
    stream.close(`refused: ${message.welcome.refusal.sentence}`);
  } else if (kind === 'welcome') {
    stream.keep(message.terms);
    stream.send('step', { sequence: 1, observations: [rows(environments.observations)] });
  } else if (kind === 'action') {
    step(message);
  } else if (kind === 'goodbye') {
    stream.close(`goodbye: ${message.sentence}`);
  }
}

function step({ sequence, actions }) {
  const content = Uint8Array.prototype.slice.call(actions[0].data);
  environments.step(Array.from(new BigInt64Array(content.buffer), Number));
  numSteps += 1;
  stream.send('step', {
    sequence: sequence + 1,
    observations: [rows(environments.observations)],
    rewards: Array.from(environments.rewards),
    terminated: Array.from(environments.terminated, Boolean),
    truncated: Array.from(environments.truncated, Boolean),
    ended: environments.ended,
    final_observations: environments.ended.length ? [rows(environments.finalObservations)] : [],
  });
}

function rows(array) {
  const data = Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return { name: '', dtype: 'DTYPE_FLOAT32', shape: [array.length / 4, 4], data };
}
