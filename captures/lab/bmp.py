"""A BMP station that only listens: routers connect, what they send is recorded as packets by a capture beside it.

usage: bmp.py ADDRESS PORT
"""
import asyncio
import sys


async def drain(reader, writer):
    while await reader.read(1 << 16):
        pass
    writer.close()


async def main(address, port):
    async with await asyncio.start_server(drain, address, int(port)) as server:
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:3]))
