-- ARGV: keep (milliseconds), tokens, tokens a minute or '', tokens at a time or '', id or '',
-- seconds until the reservation expires, seconds to wait when too much is held.
-- Returns the seconds to wait, as a string: '0' when the tokens are reserved.
local now, before = times()
local tokens, per_minute, at_a_time, id = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local expires = now + tonumber(ARGV[6])
-- After Redis' clock was set back: none expires later than one that is made now.
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.17g', expires), '+inf')) do
  redis.call('ZADD', KEYS[2], expires, ahead)
end
local held = release(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now))
if at_a_time and held + tokens > at_a_time then return ARGV[7] end
if per_minute then
  local left = tonumber(redis.call('HGET', KEYS[1], 'left') or per_minute)
  left = math.min(per_minute, left + (now - before) * per_minute / 60)
  if left < tokens then return string.format('%.17g', (tokens - left) * 60 / per_minute) end
  redis.call('HSET', KEYS[1], 'left', string.format('%.17g', left - tokens))
end
redis.call('HSET', KEYS[1], 'at', string.format('%.17g', now))
-- Requests a minute are counted without an id: nothing is held.
if id ~= '' then
  redis.call('HSET', KEYS[1], 'held', held + tokens)
  redis.call('ZADD', KEYS[2], expires, id)
end
keep(ARGV[1])
return '0'
