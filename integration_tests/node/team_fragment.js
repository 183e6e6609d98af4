// Makes a fragment of what several agents did: a part for each stack, the first of which holds the others.
'use strict';

const { Body } = require('./frames.js');

const NUM_SEEN = 2;

function fragmentMessage(runner, streams, ended, version) {
  const body = new Body();
  const stacks = Object.keys(runner.cast.likes).filter((stack) => streams.some(isOf(runner, stack)));
  const [header, ...others] = stacks.map((stack) => part(runner, stack, streams, ended, version, body));
  // Episodes of the whole environment stand in the first part only.
  header.episodes.returns = ended.map(({ returns }) => returns.reduce((sum, each) => sum + each));
  header.episodes.lengths = ended.map(({ length }) => length);
  return body.serialize('Fragment', { ...header, others });
}

function isOf({ cast }, stack) {
  return ({ policy }) => cast.stackOf[policy] === stack;
}

// The rows of one stack's policies: streams of a policy lie together, rows of a stream in time order.
function part(runner, stack, streams, ended, version, body) {
  const { assignment, cast, graphs } = runner;
  const own = streams.filter(isOf(runner, stack)).sort((one, other) => one.policy - other.policy);
  const rows = own.flatMap((stream) => stream.rows);
  const lasts = new Set(own.map((stream) => stream.rows[stream.rows.length - 1]));
  const isNext = (row) => !row.terminated && (row.truncated || lasts.has(row));
  const nextRows = [...rows.keys()].filter((number) => isNext(rows[number]));
  const whole = (each) => body.add('DTYPE_INT32', [own.length], Int32Array.from(own, each));
  const flags = (each) => body.add('DTYPE_BOOL', [rows.length], Uint8Array.from(rows, each));
  const numbers = (each) => body.add('DTYPE_FLOAT32', [rows.length], Float32Array.from(rows, each));
  const seen = (arrays) => [{ name: '', tensor: matrix(body, arrays, NUM_SEEN) }];
  const big = (values) => body.add('DTYPE_INT64', [values.length], BigInt64Array.from(values, BigInt));
  const first = assignment.runner * assignment.num_environments;
  const header = {
    streams: {
      lengths: big(own.map((stream) => stream.rows.length)),
      policy: whole(({ policy }) => policy),
      environment: whole(({ copy }) => first + copy),
      agent: whole(({ slot }) => slot),
    },
    observations: seen(rows.map(({ observation }) => observation)),
    actions: [{ name: '', tensor: big(rows.map(({ action }) => action)) }],
    rewards: numbers(({ reward }) => reward),
    terminated: flags(({ terminated }) => terminated),
    truncated: flags(({ truncated }) => truncated),
    next_rows: big(nextRows),
    next_observations: seen(nextRows.map((number) => rows[number].followed)),
    action_log_probs: numbers(({ logProb }) => logProb),
    policy_version: big([version]),
    episodes: { agents: agentEpisodes(ended, first, (policy) => cast.stackOf[policy] === stack) },
  };
  if (assignment.record_action_parameters) {
    const { stop } = graphs[cast.likes[stack]].head;
    header.action_parameters = matrix(body, rows.map(({ parameters }) => parameters), stop);
  }
  return header;
}

function matrix(body, arrays, width) {
  const all = new Float32Array(arrays.length * width);
  arrays.forEach((array, place) => all.set(array, width * place));
  return body.add('DTYPE_FLOAT32', [arrays.length, width], all);
}

// How it ended for each agent whose policy is asked for.
function agentEpisodes(ended, first, isAskedFor) {
  const found = { policy: [], agent: [], returns: [], lengths: [], environment: [], episode: [] };
  for (const { copy, number, policies, returns, length } of ended) {
    policies.forEach((policy, slot) => {
      if (!isAskedFor(policy)) return;
      found.policy.push(policy);
      found.agent.push(slot);
      found.returns.push(returns[slot]);
      found.lengths.push(length);
      found.environment.push(first + copy);
      found.episode.push(number);
    });
  }
  return found;
}

module.exports = { fragmentMessage };
