-- ARGV: id, keep (milliseconds), tokens used, tokens a minute or ''.
local _, reserved = release({ARGV[1]})
local left, per_minute = tonumber(redis.call('HGET', KEYS[1], 'left')), tonumber(ARGV[4])
if left and per_minute then
  left = math.min(per_minute, left + math.max(0, reserved - tonumber(ARGV[3])))
  redis.call('HSET', KEYS[1], 'left', string.format('%.17g', left))
end
keep(ARGV[2])
return 1
