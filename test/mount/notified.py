"""Receives what is told to a service manager on the unix socket named by the argument, and prints a line of JSON for each message."""
import json
import socket
import sys

name = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind("\0" + name[1:] if name.startswith("@") else name)
print("listens", flush=True)
while True:
    print(json.dumps(receiver.recv(65536).decode()), flush=True)
