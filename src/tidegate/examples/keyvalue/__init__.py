"""A small key-value service that can be moved from card to card while it is used, and a load for it.

python -m tidegate.examples.keyvalue serve --port 7000
python -m tidegate.examples.keyvalue load --at 127.0.0.1:7000 --seconds 10
"""
