-- What a query may hold; stands before edge.lua and behind the facts that that names.

local MOST_NAMED = 16
local LARGEST = {int32 = 2147483647, uint32 = 4294967295, int64 = 9.2e18, uint64 = 1.8e19}

local function decoded(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- camelCase, dashes and snake_case of a name are one: `apiKey`, `api-key`, `api_key`.
local function plain(name)
  return (name:lower():gsub("[-_]", ""))
end

-- How many letters must be changed to get from one short text to another.
local function distance(from, to)
  local row = {}
  for column = 0, #to do
    row[column] = column
  end
  for line = 1, #from do
    local corner = row[0]
    row[0] = line
    for column = 1, #to do
      local change = corner + (from:byte(line) == to:byte(column) and 0 or 1)
      corner = row[column]
      row[column] = math.min(change, row[column] + 1, row[column - 1] + 1)
    end
  end
  return row[#to]
end

local function nearest(name, fields)
  local best, found = math.floor(#name / 3) + 1
  for known, field in pairs(fields) do
    local far = #name <= 40 and #known <= 40 and distance(name, known) or best
    if far < best or (far == best and found and field[1] < found) then
      best, found = far, field[1]
    end
  end
  return found
end

-- A field by its name, in JSON's or the protos' spelling, or one in which any name may follow a dot.
local function field_of(name, fields)
  local field = fields[plain(name)]
  local above = plain(name)
  if field and name:gsub("_(%l)", string.upper) ~= field[1] then
    return nil
  end
  while not field and above do
    above = above:match("^(.*)%.[^.]*$")
    local open = above and fields[above]
    field = open and (open[2] == "open" or open[2] == "map") and open
  end
  return field
end

-- kind: as gateway/query_names.py says.
local function mistaken(kind, value)
  if kind == "map" then
    return "cannot be set in a query; send it in the body"
  elseif kind:find("|", 1, true) and not value:match("^%d+$") and not kind:find("|" .. value .. "|", 1, true) then
    return "must be one of " .. kind:sub(2, -2):gsub("|", ", ")
  elseif LARGEST[kind] and not value:match("^%-?%d+$") then
    return "must be a whole number"
  elseif LARGEST[kind] and math.abs(tonumber(value)) > LARGEST[kind] then
    return "is too large a number"
  elseif kind == "bool" and value ~= "true" and value ~= "false" then
    return "must be true or false"
  end
end

-- A name as it may stand in an answer.
local function shown(name)
  return (name:sub(1, 100):gsub("[^%w._~%%%[%]-]", "?"))
end

-- Why a query is refused: a reason, what is wrong with which field, and a message.
local function wrong_query(query, call)
  local method = QUERIES[call]
  local fields = method and QUERY_FIELDS[method[2]]
  local over, unknown, wrong, names, said, twice = {}, {}, {}, {}, {}, {}
  for pair in query:gmatch("[^&;]+") do
    local name, value = pair:match("^([^=]*)=?(.*)$")
    local known = plain(decoded(name))
    if CREDENTIAL_NAMES[known] or decoded(value):sub(1, 3) == "fs_" then
      return "CREDENTIALS_IN_QUERY"
    end
    local field = fields and field_of(decoded(name), fields)
    local mistake = field and mistaken(field[2], decoded(value))
    if PATH_VARIABLES[known] then
      over[#over + 1] = {field = PATH_VARIABLES[known], description = REFUSED.QUERY_OVERRIDES_PATH.message}
    elseif fields and not field and #unknown < MOST_NAMED then
      local near = nearest(known, fields)
      names[#names + 1] = "'" .. shown(name) .. "'"
      unknown[#unknown + 1] = {
        field = shown(name),
        description = "There is no such field" .. (near and ". Did you mean " .. near .. "?" or ""),
      }
    elseif mistake and #wrong < MOST_NAMED then
      wrong[#wrong + 1] = {field = shown(name), description = mistake}
    elseif field and field == fields[known] and not field[3] and said[known] and said[known] ~= decoded(value) then
      twice[math.min(#twice + 1, MOST_NAMED)] = {field = shown(name), description = "is given two values; it takes one"}
    end
    said[known] = said[known] or decoded(value)
  end
  if #over > 0 then
    return "QUERY_OVERRIDES_PATH", over
  end
  if #unknown > 0 then
    local message = method[1] .. " has no field " .. table.concat(names, ", ")
    for _, each in ipairs(wrong) do
      unknown[#unknown + 1] = each
    end
    return "FIELD_UNKNOWN", unknown, message
  end
  if #wrong > 0 then
    local more = #wrong > 1 and " (and " .. #wrong - 1 .. " more)" or ""
    return "FIELD_TYPE_WRONG", wrong, wrong[1].field .. ": " .. wrong[1].description .. more
  end
  if #twice > 0 then
    return "QUERY_DIFFERS", twice
  end
end
