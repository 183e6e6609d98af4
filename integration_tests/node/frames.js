// Arrays in large messages (`Frame`): where they lie in the body, and which bytes they are.
'use strict';

const { messages } = require('./stream.js');

const ALIGNMENT = 64;
const KINDS = {
  DTYPE_BOOL: Uint8Array,
  DTYPE_INT32: Int32Array,
  DTYPE_INT64: BigInt64Array,
  DTYPE_FLOAT32: Float32Array,
};

// Lays arrays out one after the other.
class Body {
  constructor() {
    this.arrays = [];
    this.numBytes = 0;
  }

  // Adds an array and returns the `Tensor` that describes it.
  add(dtype, shape, array) {
    if (array.byteLength === 0) return { dtype, shape, offset: 0 };
    const offset = Math.ceil(this.numBytes / ALIGNMENT) * ALIGNMENT;
    this.arrays.push({ offset, content: new Uint8Array(array.buffer, array.byteOffset, array.byteLength) });
    this.numBytes = offset + array.byteLength;
    return { dtype, shape, offset };
  }

  // Returns a message of type `kind`: the header first, the arrays last, no padding in between.
  serialize(kind, header) {
    const body = Buffer.alloc(this.numBytes);
    for (const { offset, content } of this.arrays) body.set(content, offset);
    const sizes = this.arrays.map(({ content }) => content.length);
    return messages[`outrider.wire.v1.${kind}`].serialize({ header, array_sizes: sizes, body });
  }
}

// Returns the header of a message, and a function that reads the array of a tensor.
function open(kind, message) {
  const { header, body } = messages[`outrider.wire.v1.${kind}`].deserialize(message);
  const read = ({ dtype, shape, offset }) => {
    const Kind = dtype === 'DTYPE_UINT8' ? Uint8Array : KINDS[dtype];
    const numBytes = shape.reduce((product, length) => product * length, 1) * Kind.BYTES_PER_ELEMENT;
    return new Kind(Uint8Array.prototype.slice.call(body, offset, offset + numBytes).buffer);
  };
  return { header, read };
}

// Returns what a `Tree` holds: objects, lists, plain values and arrays.
function openTree(message) {
  const { header, read } = open('Tree', message);
  const value = ({ kind, [kind]: found }) => {
    switch (kind) {
      case 'none':
        return null;
      case 'data':
      case 'array':
        return read(found);
      case 'list':
        return found.values.map(value);
      case 'map':
        return Object.fromEntries(found.entries.map((entry) => [entry.name, value(entry.value)]));
      default:
        return found;
    }
  };
  return value(header.root);
}

module.exports = { Body, open, openTree };
