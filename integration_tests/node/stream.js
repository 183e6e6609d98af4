// One stream to a gateway: heartbeats, silence, and large messages in pieces. Nothing here knows what is said.
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const PROTO = path.join(__dirname, '..', '..', 'proto');
const V1 = 'outrider/wire/v1/';
const FILES = ['runner_service', 'act_service', 'fragment', 'weights', 'policy_graph', 'tree'];
const PIECE_BYTES = 512 * 1024;

const messages = protoLoader.loadSync(
  FILES.map((name) => `${V1}${name}.proto`),
  { includeDirs: [PROTO], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true },
);
const services = grpc.loadPackageDefinition(messages).outrider.wire.v1;

class Stream {
  // `receive(kind, message, attachment)` is called for each message that is complete, `end(reason)` once.
  constructor(service, method, address, receive, end) {
    const client = new services[service](address, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': 8 * 1024 * 1024,
    });
    this.call = client[method]();
    this.receive = receive;
    this.heardAt = Date.now();
    this.call.on('data', (message) => this.take(message));
    this.call.on('error', (error) => this.close(error.message));
    this.call.on('end', () => this.close('the stream ended'));
    this.end = (reason) => {
      clearInterval(this.beating);
      client.close();
      end(reason);
    };
  }

  take(message) {
    this.heardAt = Date.now();
    if (message.message === 'chunk') {
      const { data } = message.chunk;
      data.copy(this.attachment, this.numReceived);
      this.numReceived += data.length;
      if (this.numReceived < this.attachment.length) return;
      this.receive(this.announced.message, this.announced[this.announced.message], this.attachment);
    } else if (message.attachment_bytes > 0) {
      this.announced = message;
      this.attachment = Buffer.alloc(message.attachment_bytes);
      this.numReceived = 0;
    } else if (message.message !== undefined && message.message !== 'heartbeat') {
      this.receive(message.message, message[message.message]);
    }
  }

  send(kind, content, attachment = Buffer.alloc(0)) {
    this.call.write({ [kind]: content, attachment_bytes: attachment.length });
    for (let start = 0; start < attachment.length; start += PIECE_BYTES) {
      this.call.write({ chunk: { data: attachment.subarray(start, start + PIECE_BYTES) } });
    }
  }

  // Send heartbeats from now on, and give up a gateway that is silent.
  keep(terms) {
    this.beating = setInterval(() => {
      this.send('heartbeat', {});
      if (Date.now() - this.heardAt > terms.silence_timeout_ms) this.close('the gateway is silent');
    }, terms.heartbeat_interval_ms);
  }

  close(reason) {
    const { end } = this;
    this.end = () => {};
    this.call.end();
    end(reason);
  }
}

module.exports = { Stream, messages };
