"""Writes a stream as it comes, its content coding taken off by the named library."""
import asyncio
import sys


def write(part):
    sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def with_requests(url):
    import requests

    with requests.get(url, stream=True, timeout=60) as response:
        for part in response.iter_content(chunk_size=None):
            write(part)


def with_httpx(url):
    import httpx

    with httpx.stream("GET", url, timeout=60) as response:
        for part in response.iter_bytes():
            write(part)


def with_aiohttp(url):
    import aiohttp

    async def read():
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            async for part in response.content.iter_any():
                write(part)

    asyncio.run(read())


{"requests": with_requests, "httpx": with_httpx, "aiohttp": with_aiohttp}[sys.argv[1]](sys.argv[2])
