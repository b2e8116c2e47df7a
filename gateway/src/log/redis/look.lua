-- Says of each stream what a reader has to know. Values stay here.
-- KEYS: the streams
-- ARGV: an age in ms, then for each stream the id of the last entry that was read, or ''
-- Returns the server's time in ms, then for each: the first entry's id or '', the last id that was
-- ever given, how many entries were ever added (-1: Redis does not say), how many there are, the
-- id of the last entry that is older than the age or '', and whether the entry that was read is
-- there.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = math.max(now - ARGV[1], 1)
local looked = {now}
for n, key in ipairs(KEYS) do
  local read = ARGV[n + 1]
  local found = {'', '0-0', 0, 0, '', 0}
  if redis.call('EXISTS', key) == 1 then
    local info = redis.call('XINFO', 'STREAM', key)
    local named = {}
    for i = 1, #info, 2 do
      named[info[i]] = info[i + 1]
    end
    local before = redis.call('XREVRANGE', key, string.format('(%.0f-0', since), '-', 'COUNT', 1)
    found = {
      named['first-entry'] and named['first-entry'][1] or '',
      named['last-generated-id'],
      named['entries-added'] or -1,
      named['length'],
      before[1] and before[1][1] or '',
      read ~= '' and #redis.call('XRANGE', key, read, read, 'COUNT', 1) or 0,
    }
  end
  looked[n + 1] = found
end
return looked
