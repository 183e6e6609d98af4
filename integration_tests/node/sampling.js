// A runner's side of `RunnerService`, over however many connections: what it was asked for, and fragments until
// they are acknowledged. Nothing here knows what is sampled: a player does.
//
//     introduction                       what `join` says of it
//     begin(assignment, attachment)      make environments and policies, for a session that is new
//     weights(attachment, before)        what is held from now on: { version, ... }, `before` stays as it is
//     told(state)                        take over a state; true where the weights are to be forgotten
//     sample(weights)                    one fragment: { message, numRows }
'use strict';

const { Body } = require('./frames.js');
const { Stream } = require('./stream.js');

const FEW_DIALS = 20;
const NO_STATE = { root: { map: { entries: [] } } };

class Sampling {
  constructor(address, player) {
    this.address = address;
    this.player = player;
    this.numDials = 0;
    this.numRows = 0;
    this.samplingMs = 0;
    this.isOver = false;
    this.isAtWork = false;
    // What is kept when a connection breaks.
    this.session = '';
    this.lastAsk = 0;
    this.weights = null;
    this.unacknowledged = new Map(); // fragments by sequence, as they were sent
    this.asks = []; // credits that are not used yet
    this.requests = []; // for states, which nothing was done about yet
    this.isReady = false;
  }

  dial() {
    this.numDials += 1;
    this.stream = new Stream(
      'RunnerService',
      'Sample',
      this.address,
      (...message) => this.receive(...message),
      (reason) => this.dialAgain(reason),
    );
    this.stream.send('join', {
      ...this.player.introduction,
      session: this.session,
      last_ask: this.lastAsk,
      next_weights_version: this.weights === null ? 0 : this.weights.version + 1,
    });
  }

  dialAgain(reason) {
    if (!this.isOver && this.numDials < FEW_DIALS) {
      setTimeout(() => this.dial(), 100);
      return;
    }
    const perSecond = Math.round((1000 * this.numRows) / this.samplingMs);
    console.log(`${reason}; ${this.numRows} steps, ${perSecond} steps/s`);
    process.exitCode = this.numRows > 0 ? 0 : 1;
  }

  receive(kind, message, attachment) {
    switch (kind) {
      case 'welcome':
        this.welcome(message);
        break;
      case 'assignment':
        this.begin(message, attachment);
        break;
      case 'weights':
        this.weights = this.player.weights(attachment, this.weights);
        this.work();
        break;
      case 'ask':
        this.lastAsk = message.sequence;
        this.asks.push(message);
        this.work();
        break;
      case 'acknowledgement':
        for (const sequence of this.unacknowledged.keys()) {
          if (sequence <= message.sequence) this.unacknowledged.delete(sequence);
        }
        break;
      case 'state':
        this.requests.push({ request: message.request, state: attachment });
        this.work();
        break;
      case 'goodbye':
        this.isOver = message.reason !== 'REASON_LATER';
        this.stream.close(`goodbye: ${message.sentence}`);
        break;
      default: // a message of a newer release
    }
  }

  welcome(message) {
    if (message.welcome.refusal) {
      this.isOver = true;
      this.stream.close(`refused: ${message.welcome.refusal.sentence}`);
      return;
    }
    this.stream.keep(message.terms);
    this.session = message.session;
    if (!message.resumed) {
      this.unacknowledged.clear();
      this.asks.length = 0;
      this.requests.length = 0;
      this.lastAsk = 0;
      this.weights = null;
      this.isReady = false;
      return;
    }
    for (const [sequence, fragment] of this.unacknowledged) {
      if (sequence <= message.acknowledged) this.unacknowledged.delete(sequence);
      else this.stream.send('fragment', { sequence }, fragment);
    }
  }

  async begin(assignment, attachment) {
    const mine = this.session;
    await this.player.begin(assignment, attachment);
    if (mine !== this.session) return;
    this.isReady = true;
    this.stream.send('ready', {});
    this.work();
  }

  // Answer states, and then asks in their order, as far as the weights that they name have come.
  async work() {
    if (this.isAtWork) return;
    this.isAtWork = true;
    while (this.isReady) {
      while (this.requests.length > 0) this.answer(this.requests.shift());
      if (this.weights === null || this.asks.length === 0) break;
      if ((this.asks[0].weights_version ?? 0) > this.weights.version) break;
      const { sequence } = this.asks.shift();
      const mine = this.session;
      const startedAt = Date.now();
      const { message, numRows } = await this.player.sample(this.weights);
      this.samplingMs += Date.now() - startedAt;
      this.numRows += numRows;
      if (mine !== this.session) continue; // it was for a session that is over
      this.unacknowledged.set(sequence, message);
      this.stream.send('fragment', { sequence }, message);
    }
    this.isAtWork = false;
  }

  // An empty state is one, from which a runner starts afresh.
  answer({ request, state }) {
    if (state === undefined) {
      this.stream.send('state', { request }, new Body().serialize('Tree', NO_STATE));
      return;
    }
    if (this.player.told(state)) this.weights = null;
    this.stream.send('state', { request });
  }
}

module.exports = { Sampling };
