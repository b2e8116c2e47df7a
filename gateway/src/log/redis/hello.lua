-- Says which log this is; begins one if there is none.
-- KEYS: the log's epoch, how many streams its events are spread over, the epochs it had before
-- ARGV: an epoch and a number of streams for a log that begins, the epoch to replace or ''
-- Returns {epoch, streams, {former epochs}}.
local epoch = redis.call('GET', KEYS[1])
if not epoch or epoch == ARGV[3] then
  if epoch then
    redis.call('LPUSH', KEYS[3], epoch)
    redis.call('LTRIM', KEYS[3], 0, 15)
  else
    redis.call('DEL', KEYS[3])
  end
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch)
end
redis.call('SET', KEYS[2], ARGV[2], 'NX')
return {epoch, redis.call('GET', KEYS[2]), redis.call('LRANGE', KEYS[3], 0, -1)}
