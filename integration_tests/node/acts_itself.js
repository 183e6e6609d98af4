// CartPole that acts by itself with the policy graph, in ONNX Runtime (`RunnerService`).
//
//     node acts_itself.js HOST:PORT
'use strict';

const ort = require('onnxruntime-node');
const cartpole = require('./cartpole.js');
const { Body, open } = require('./frames.js');
const { Stream, join } = require('./stream.js');

const address = process.argv[2];
const FEW_DIALS = 20;
const NO_STATE = { root: { map: { entries: [] } } };

// What is kept when a connection breaks.
const unacknowledged = new Map(); // fragments by sequence, as they were sent
const asks = []; // credits that are not used yet
let session = '';
let lastAsk = 0;
let weights = null; // { version, tensors }
let runner = null;
let stream;
let numDials = 0;
let isOver = false;
let isSampling = false;
let numRows = 0;
let samplingMs = 0;

dial();

function dial() {
  numDials += 1;
  stream = new Stream('RunnerService', 'Sample', address, receive, dialAgain);
  stream.send('join', join(`cartpole ${process.pid}`, cartpole, {
    session,
    last_ask: lastAsk,
    next_weights_version: weights === null ? 0 : weights.version + 1,
  }));
}

function dialAgain(reason) {
  if (!isOver && numDials < FEW_DIALS) {
    setTimeout(dial, 100);
    return;
  }
  console.log(`${reason}; ${numRows} steps, ${Math.round((1000 * numRows) / samplingMs)} steps/s`);
  process.exitCode = numRows > 0 ? 0 : 1;
}

function receive(kind, message, attachment) {
  switch (kind) {
    case 'welcome':
      welcome(message);
      break;
    case 'assignment':
      assign(message, attachment);
      break;
    case 'weights':
      weights = readWeights(attachment);
      sampleAll();
      break;
    case 'ask':
      lastAsk = message.sequence;
      asks.push(message);
      sampleAll();
      break;
    case 'acknowledgement':
      for (const sequence of unacknowledged.keys()) {
        if (sequence <= message.sequence) unacknowledged.delete(sequence);
      }
      break;
    case 'state':
      tellState(message.request, attachment);
      break;
    case 'goodbye':
      isOver = message.reason !== 'REASON_LATER';
      stream.close(`goodbye: ${message.sentence}`);
      break;
    default: // a message of a newer release
  }
}

function welcome(message) {
  if (message.welcome.refusal) {
    isOver = true;
    stream.close(`refused: ${message.welcome.refusal.sentence}`);
    return;
  }
  stream.keep(message.terms);
  session = message.session;
  if (!message.resumed) {
    unacknowledged.clear();
    asks.length = 0;
    lastAsk = 0;
    runner = null;
    return;
  }
  for (const [sequence, fragment] of unacknowledged) {
    if (sequence <= message.acknowledged) unacknowledged.delete(sequence);
    else stream.send('fragment', { sequence }, fragment);
  }
}

// An empty state is one, from which a runner starts afresh. One that is given is left alone.
function tellState(request, given) {
  stream.send('state', { request }, given === undefined ? new Body().serialize('Tree', NO_STATE) : undefined);
}

async function assign(assignment, attachment) {
  const { header, read } = open('PolicyGraph', attachment);
  const graph = await ort.InferenceSession.create(read(header.model), {
    executionProviders: ['cpu'],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
  });
  const seed = assignment.seed + 7919 * assignment.runner + 104729 * assignment.incarnation;
  const random = cartpole.generator(seed);
  runner = {
    assignment,
    graph,
    head: header.action_heads[0],
    random,
    environments: new cartpole.CartPoles(assignment.num_environments, random),
    returns: new Float32Array(assignment.num_environments),
    lengths: new Int32Array(assignment.num_environments),
  };
  stream.send('ready', {});
  sampleAll();
}

function readWeights(attachment) {
  const { header, read } = open('Weights', attachment);
  const tensors = {};
  for (const { name, tensor } of header.tensors) {
    tensors[`weights/${name}`] = new ort.Tensor('float32', read(tensor), tensor.shape);
  }
  return { version: header.version, tensors };
}

// Answer asks in their order, as far as the weights that they name have come.
async function sampleAll() {
  if (isSampling || runner === null || weights === null) return;
  isSampling = true;
  while (asks.length > 0 && (asks[0].weights_version ?? 0) <= weights.version) {
    const { sequence } = asks.shift();
    const mine = session;
    const startedAt = Date.now();
    const fragment = await sample(runner, weights);
    samplingMs += Date.now() - startedAt;
    if (mine !== session) break; // it was for a session that is over
    unacknowledged.set(sequence, fragment);
    stream.send('fragment', { sequence }, fragment);
  }
  isSampling = false;
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
  numRows += total;
  return fragmentMessage(assignment, head, version, columns, followed, episodes);
}

// Draw from a categorical distribution, or take the most likely action where there is nothing to draw with.
function choose(logits, drawn) {
  const highest = Math.max(...logits);
  const odds = Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = odds.reduce((before, each) => before + each, 0);
  let action = 0;
  if (drawn === null) {
    action = logits.indexOf(highest);
  } else {
    let left = drawn * sum - odds[0];
    while (left >= 0 && action < odds.length - 1) {
      action += 1;
      left -= odds[action];
    }
  }
  return { action, logProb: logits[action] - highest - Math.log(sum) };
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
