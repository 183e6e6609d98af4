// Which policies there are and who plays for whom, and their weights by number.
'use strict';

const { open, openTree } = require('./frames.js');
const { loadGraph } = require('./policy.js');

// What is attached to an assignment with a team: { graphs by stack, cast }.
async function readTeam(attachment) {
  const { stacks, cast } = openTree(attachment);
  const graphs = {};
  for (const [name, { policy_graph: graph, is_stacked: isStacked }] of Object.entries(stacks)) {
    const { header, read } = open('PolicyGraph', Buffer.from(graph));
    graphs[name] = { session: await loadGraph(read(header.model)), head: header.action_heads[0], isStacked };
  }
  return { graphs, cast: readCast(cast, null) };
}

// A cast without matchups has those of the assignment.
function readCast({ stacks, policies, mapping }, before) {
  const assigned = before === null ? mapping : before.assigned;
  return {
    assigned,
    likes: Object.fromEntries(stacks), // by stack, the one of the assignment that it acts like
    numbers: Object.fromEntries(policies.map(([name, number]) => [name, number])),
    stackOf: Object.fromEntries(policies.map(([, number, stack]) => [number, stack])),
    matchups: mapping === null ? assigned : mapping,
  };
}

// Returns the number of each agent's policy in an episode that begins.
function draw({ matchups, numbers }, agents, random) {
  const sum = matchups.reduce((before, [weight]) => before + weight, 0);
  let left = random() * sum;
  const chosen = matchups.find(([weight]) => (left -= weight) < 0) ?? matchups[matchups.length - 1];
  return agents.map(({ name }) => numbers[chosen[1][name]]);
}

// Weights leave out policies that have not changed since: those are kept. What was held stays as it was, for the
// fragment under way.
function readWeights(attachment, before) {
  const { header, read } = open('Weights', attachment);
  const policies = new Map(before === null ? [] : before.policies);
  for (const { name: stack, policies: numbers } of header.stacks) {
    const tensors = header.tensors.filter(({ name }) => name.startsWith(`${stack}/`));
    const kept = tensors.map(({ name, tensor }) => ({
      name: name.slice(stack.length + 1),
      shape: tensor.shape.slice(1),
      all: read(tensor),
    }));
    read(numbers).forEach((number, place) => {
      const own = {};
      for (const { name, shape, all } of kept) {
        const size = shape.reduce((product, length) => product * length, 1);
        own[name] = { shape, values: all.subarray(size * place, size * (place + 1)) };
      }
      policies.set(number, own);
    });
  }
  return { version: header.version, policies };
}

module.exports = { draw, readCast, readTeam, readWeights };
