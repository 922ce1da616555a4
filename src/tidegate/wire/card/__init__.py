"""The Offload Card API: generated from `proto/tidegate/card`; nothing here is written by hand."""
