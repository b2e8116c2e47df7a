// Writes a stream as it comes, its content coding taken off by Node's fetch.
const response = await fetch(process.argv[2]);
for await (const part of response.body) process.stdout.write(part);
