"""Generated code of the protos in `proto/outrider/wire/v1`, by `tools/gen_proto.py`."""
