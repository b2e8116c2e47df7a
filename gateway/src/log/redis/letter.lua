-- Keeps one dead letter, once.
-- KEYS: the dead letters' stream, what remembers this letter
-- ARGV: for how long that is remembered in ms, the greatest length, then fields and values
-- Returns 1 if it was written, 0 if it had been before.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
-- From here on nothing may fail: an error means that the letter is not kept.
redis.pcall('SET', KEYS[2], '1', 'PX', ARGV[1])
redis.pcall('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[2])
return 1
