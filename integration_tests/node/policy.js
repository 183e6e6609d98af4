// What a policy graph computes, and the actions that are drawn from it.
'use strict';

const ort = require('onnxruntime-node');

function loadGraph(model) {
  const options = { executionProviders: ['cpu'], intraOpNumThreads: 1, interOpNumThreads: 1 };
  return ort.InferenceSession.create(model, options);
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

module.exports = { choose, loadGraph };
