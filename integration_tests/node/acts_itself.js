// CartPole that acts by itself with the policy graph, in ONNX Runtime (`RunnerService`).
//
//     node acts_itself.js HOST:PORT
'use strict';

const ort = require('onnxruntime-node');
const cartpole = require('./cartpole.js');
const { Body, open } = require('./frames.js');
const { choose, loadGraph } = require('./policy.js');
const { generator, seedOf } = require('./random.js');
const { Sampling } = require('./sampling.js');

let runner;

new Sampling(process.argv[2], {
  introduction: cartpole.introduction,
  begin,
  weights: readWeights,
  told: () => false, // a state that is given is left alone
  sample: (weights) => sample(runner, weights),
}).dial();

async function begin(assignment, attachment) {
  const { header, read } = open('PolicyGraph', attachment);
  const random = generator(seedOf(assignment));
  runner = {
    assignment,
    graph: await loadGraph(read(header.model)),
    head: header.action_heads[0],
    random,
    environments: new cartpole.CartPoles(assignment.num_environments, random),
    returns: new Float32Array(assignment.num_environments),
    lengths: new Int32Array(assignment.num_environments),
  };
}

function readWeights(attachment) {
  const { header, read } = open('Weights', attachment);
  const tensors = {};
  for (const { name, tensor } of header.tensors) {
    tensors[`weights/${name}`] = new ort.Tensor('float32', read(tensor), tensor.shape);
  }
  return { version: header.version, tensors };
}

// Step all copies `num_steps` times. Rows lie copy after copy: row = copy * num_steps + step.
async function sample({ assignment, graph, head, random, environments, returns, lengths }, { version, tensors }) {
  const { num_environments: numCopies, num_steps: numSteps, explore } = assignment;
  const total = numCopies * numSteps;
  const columns = {
    observations: new Float32Array(4 * total),
    actions: new BigInt64Array(total),
    rewards: new Float32Array(total).fill(1),
    terminated: new Uint8Array(total),
    truncated: new Uint8Array(total),
    logProbs: new Float32Array(total),
    parameters: new Float32Array(head.stop * total),
  };
  const followed = new Map(); // the observation after a row that the next row does not follow
  const episodes = { returns: [], lengths: [] };
  const fed = graph.inputNames.filter((name) => name in tensors);
  const feeds = Object.fromEntries(fed.map((name) => [name, tensors[name]]));
  const actions = new Int32Array(numCopies);
  for (let step = 0; step < numSteps; step += 1) {
    const shown = environments.observations;
    feeds.observation = new ort.Tensor('float32', shown, [numCopies, 4]);
    const { data: logits } = (await graph.run(feeds, ['action_parameters'])).action_parameters;
    for (let copy = 0; copy < numCopies; copy += 1) {
      const row = copy * numSteps + step;
      const parameters = logits.subarray(head.stop * copy, head.stop * (copy + 1));
      const { action, logProb } = choose(parameters.subarray(head.start), explore ? random() : null);
      actions[copy] = action;
      columns.observations.set(shown.subarray(4 * copy, 4 * copy + 4), 4 * row);
      columns.actions[row] = BigInt(action);
      columns.logProbs[row] = logProb;
      columns.parameters.set(parameters, head.stop * row);
    }
    environments.step(actions);
    for (let copy = 0; copy < numCopies; copy += 1) {
      const row = copy * numSteps + step;
      columns.terminated[row] = environments.terminated[copy];
      columns.truncated[row] = environments.truncated[copy];
      returns[copy] += 1;
      lengths[copy] += 1;
    }
    environments.ended.forEach((copy, place) => {
      const row = copy * numSteps + step;
      if (!columns.terminated[row]) {
        followed.set(row, environments.finalObservations.slice(4 * place, 4 * place + 4));
      }
      episodes.returns.push(returns[copy]);
      episodes.lengths.push(lengths[copy]);
      returns[copy] = 0;
      lengths[copy] = 0;
    });
  }
  for (let copy = 0; copy < numCopies; copy += 1) {
    const row = copy * numSteps + numSteps - 1;
    if (!columns.terminated[row] && !columns.truncated[row]) {
      followed.set(row, environments.observations.slice(4 * copy, 4 * copy + 4));
    }
  }
  const message = fragmentMessage(assignment, head, version, columns, followed, episodes);
  return { message, numRows: total };
}

function fragmentMessage({ num_environments: numCopies, num_steps: numSteps, ...assignment }, head, version, columns, followed, episodes) {
  const total = numCopies * numSteps;
  const nextRows = [...followed.keys()].sort((one, other) => one - other);
  const nextObservations = new Float32Array(4 * nextRows.length);
  nextRows.forEach((row, place) => nextObservations.set(followed.get(row), 4 * place));
  const copies = Int32Array.from({ length: numCopies }, (_, copy) => assignment.runner * numCopies + copy);
  const none = new Int32Array(numCopies);
  const body = new Body();
  const header = {
    streams: {
      lengths: body.add('DTYPE_INT64', [numCopies], new BigInt64Array(numCopies).fill(BigInt(numSteps))),
      policy: body.add('DTYPE_INT32', [numCopies], none),
      environment: body.add('DTYPE_INT32', [numCopies], copies),
      agent: body.add('DTYPE_INT32', [numCopies], none),
    },
    observations: [{ name: '', tensor: body.add('DTYPE_FLOAT32', [total, 4], columns.observations) }],
    actions: [{ name: '', tensor: body.add('DTYPE_INT64', [total], columns.actions) }],
    rewards: body.add('DTYPE_FLOAT32', [total], columns.rewards),
    terminated: body.add('DTYPE_BOOL', [total], columns.terminated),
    truncated: body.add('DTYPE_BOOL', [total], columns.truncated),
    next_rows: body.add('DTYPE_INT64', [nextRows.length], BigInt64Array.from(nextRows, BigInt)),
    next_observations: [
      { name: '', tensor: body.add('DTYPE_FLOAT32', [nextRows.length, 4], nextObservations) },
    ],
    action_log_probs: body.add('DTYPE_FLOAT32', [total], columns.logProbs),
    policy_version: body.add('DTYPE_INT64', [1], BigInt64Array.of(BigInt(version))),
    episodes,
  };
  if (assignment.record_action_parameters) {
    header.action_parameters = body.add('DTYPE_FLOAT32', [total, head.stop], columns.parameters);
  }
  return body.serialize('Fragment', header);
}
