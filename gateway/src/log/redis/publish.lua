-- Appends one event, once.
-- KEYS: the stream, the log's epoch, the stream's trim marker, and for an idempotency key its own
-- ARGV: the epoch that the pod knows, the key's window in ms, the greatest age in ms and the
--       greatest length (0: none), ms between two trims, the message id, then fields and values
-- Returns {0, id}, or {1, "id message_id"} of the first event with the same key.

-- Compared first: the stream was chosen, and the receipt will be made, for that log.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return redis.error_reply('ANOTHERLOG the log was begun anew')
end
if KEYS[4] then
  local first = redis.call('GET', KEYS[4])
  if first then
    redis.call('PEXPIRE', KEYS[4], ARGV[2])
    return {1, first}
  end
end
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 7))
-- From here on nothing may fail: an error means that the event is not in the log.
if KEYS[4] then
  redis.pcall('SET', KEYS[4], id .. ' ' .. ARGV[6], 'PX', ARGV[2])
end
if ARGV[4] ~= '0' then
  redis.pcall('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[4])
end
if ARGV[3] ~= '0' and redis.pcall('SET', KEYS[3], '1', 'NX', 'PX', ARGV[5]) then
  local time = redis.call('TIME')
  local cut = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[3]
  if cut > 0 then
    -- The last of the entries that are too old stays: whoever has read it is told of no gap,
    -- however long the stream was silent.
    local last = redis.pcall('XREVRANGE', KEYS[1], string.format('(%.0f-0', cut), '-', 'COUNT', 1)
    if last[1] then
      redis.pcall('XTRIM', KEYS[1], 'MINID', '~', last[1][1], 'LIMIT', 100000)
    end
  end
end
return {0, id}
