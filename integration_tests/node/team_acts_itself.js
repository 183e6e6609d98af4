// Two agents who try to meet, and act by themselves with the policies that the run lets them play (`RunnerService`).
//
//     node team_acts_itself.js HOST:PORT
'use strict';

const ort = require('onnxruntime-node');
const { draw, readCast, readTeam, readWeights } = require('./cast.js');
const { openTree } = require('./frames.js');
const { Meetings, agents, introduction } = require('./meeting.js');
const { choose } = require('./policy.js');
const { generator, seedOf } = require('./random.js');
const { Sampling } = require('./sampling.js');
const { fragmentMessage } = require('./team_fragment.js');

let runner;

new Sampling(process.argv[2], { introduction, begin, weights: readWeights, told, sample }).dial();

async function begin(assignment, attachment) {
  if (assignment.team.has_central_critic) throw new Error('this program tells no global state');
  const random = generator(seedOf(assignment));
  const environments = new Meetings(assignment.num_environments, random);
  runner = { assignment, random, environments, ...(await readTeam(attachment)) };
  runner.episodes = Array.from({ length: assignment.num_environments }, () => newEpisode(-1));
}

// Where there are other policies, the weights come again; episodes under way go on as they are.
function told(state) {
  const tree = openTree(state);
  if (Object.keys(tree).join() !== 'cast') return false; // a state that is given is left alone
  runner.cast = readCast(tree.cast, runner.cast);
  return true;
}

function newEpisode(number) {
  return { number: number + 1, policies: draw(runner.cast, agents, runner.random), returns: [0, 0], length: 0 };
}

// Step all copies `num_steps` times.
async function sample(weights) {
  const { assignment, environments } = runner;
  const { num_environments: numCopies, num_steps: numSteps } = assignment;
  const streams = new Streams();
  const ended = [];
  for (let step = 0; step < numSteps; step += 1) {
    const rows = [];
    for (let copy = 0; copy < numCopies; copy += 1) {
      runner.episodes[copy].policies.forEach((policy, slot) => {
        rows.push({ copy, slot, policy, observation: environments.observe(copy, slot) });
      });
    }
    await act(rows, weights);
    for (let copy = 0; copy < numCopies; copy += 1) {
      const own = rows.slice(2 * copy, 2 * copy + 2);
      environments.step(copy, own.map(({ action, slot }) => action + agents[slot].actionSpace.discrete.start));
      record(copy, own, streams, ended);
    }
  }
  const message = fragmentMessage(runner, streams.all, ended, weights.version);
  return { message, numRows: numCopies * numSteps };
}

// One call for each stack: all of its policies side by side, [P, B, ...], of which the shorter are filled up.
async function act(rows, { policies }) {
  for (const [stack, like] of Object.entries(runner.cast.likes)) {
    const graph = runner.graphs[like];
    const byPolicy = new Map();
    for (const row of rows) {
      if (runner.cast.stackOf[row.policy] !== stack) continue;
      if (!byPolicy.has(row.policy)) byPolicy.set(row.policy, []);
      byPolicy.get(row.policy).push(row);
    }
    if (byPolicy.size === 0) continue;
    const most = Math.max(...Array.from(byPolicy.values(), (own) => own.length));
    const shape = (...rest) => (graph.isStacked ? [byPolicy.size, ...rest] : rest);
    const seen = new Float32Array(byPolicy.size * most * 2);
    [...byPolicy.values()].forEach((own, place) => {
      own.forEach(({ observation }, index) => seen.set(observation, 2 * (most * place + index)));
    });
    const feeds = { observation: new ort.Tensor('float32', seen, shape(most, 2)) };
    for (const input of graph.session.inputNames.filter((name) => name.startsWith('weights/'))) {
      const tensors = [...byPolicy.keys()].map((number) => policies.get(number)[input.slice('weights/'.length)]);
      const size = tensors[0].values.length;
      const side = new Float32Array(size * tensors.length);
      tensors.forEach(({ values }, place) => side.set(values, size * place));
      feeds[input] = new ort.Tensor('float32', side, shape(...tensors[0].shape));
    }
    const { data } = (await graph.session.run(feeds, ['action_parameters'])).action_parameters;
    const { start, stop } = graph.head;
    [...byPolicy.values()].forEach((own, place) => {
      own.forEach((row, index) => {
        const first = stop * (most * place + index);
        row.parameters = data.slice(first, first + stop);
        const drawn = runner.assignment.explore ? runner.random() : null;
        Object.assign(row, choose(row.parameters.subarray(start), drawn));
      });
    });
  }
}

// Note what a step brought to a copy, and begin its next episode where one ended.
function record(copy, rows, streams, ended) {
  const { environments } = runner;
  const episode = runner.episodes[copy];
  const ends = { terminated: environments.terminated[copy], truncated: environments.truncated[copy] };
  episode.length += 1;
  for (const row of rows) {
    episode.returns[row.slot] += environments.rewards[copy];
    const followed = environments.observe(copy, row.slot);
    streams.add({ ...row, ...ends, reward: environments.rewards[copy], followed, episode: episode.number });
  }
  if (!ends.terminated && !ends.truncated) return;
  ended.push({ copy, ...episode });
  environments.reset(copy);
  runner.episodes[copy] = newEpisode(episode.number);
}

// A stream is one agent in one copy with one policy: another policy begins another stream.
class Streams {
  constructor() {
    this.all = [];
    this.open = new Map();
  }

  add(row) {
    const key = agents.length * row.copy + row.slot;
    let stream = this.open.get(key);
    if (stream === undefined || stream.policy !== row.policy) {
      stream = { copy: row.copy, slot: row.slot, policy: row.policy, rows: [] };
      this.open.set(key, stream);
      this.all.push(stream);
    }
    stream.rows.push(row);
  }
}
