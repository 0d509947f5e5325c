-- Runs in Envoy before the authorization, in each worker thread by itself. gateway/envoy_edge.py puts in front of it:
-- KEEP_MS, KEEP_ENTRIES, MAX_HEADER_BYTES, MAX_BODY_BYTES, HEALTH_PATH, SESSION_COOKIE, CONSOLE_HEADER, ADDRESS_HEADER,
-- REFUSED (reason -> {status, message}), TOO_LARGE_MESSAGE and TOO_LARGE_DETAILS (an error for gRPC callers), and the
-- sets of plain names CREDENTIAL_NAMES and PATH_VARIABLES.
--
-- A browser's session counts by its cookie together with what shows that a page of ours made the call.
--
-- It refuses what no service need see (oversize headers, bodies that announce too much, credentials or path variables in
-- a query), and answers from memory for a credential that the authorization service has just let through with a call of the same shape.

local SPACE = "fiveshot.edge"
local JWT = "envoy.filters.http.jwt_authn"
local kept, entries = {}, 0

-- field: the name of a field of the API.
local function refuse(handle, reason, field)
  local refusal = REFUSED[reason]
  handle:streamInfo():dynamicMetadata():set(SPACE, "refused", reason)
  if field then
    handle:streamInfo():dynamicMetadata():set(SPACE, "field", field)
  end
  handle:respond({[":status"] = refusal.status}, refusal.message)
end

local function decoded(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- camelCase, dashes and snake_case of a name are one: `apiKey`, `api-key`, `api_key`.
local function plain(name)
  return (name:lower():gsub("[-_]", ""))
end

local function wrong_query(query)
  for pair in query:gmatch("[^&;]+") do
    local name, value = pair:match("^([^=]*)=?(.*)$")
    local known = plain(decoded(name))
    if CREDENTIAL_NAMES[known] or decoded(value):sub(1, 3) == "fs_" then
      return "CREDENTIALS_IN_QUERY"
    end
    if PATH_VARIABLES[known] then
      return "QUERY_OVERRIDES_PATH", PATH_VARIABLES[known]
    end
  end
end

-- A path with its resource ids taken out, but for the project's, so that calls of one method share an entry:
-- /v1/projects/acme/datasets/*/images/*:download. What the authorization decides may depend on nothing else.
local function shape(path)
  if path:sub(1, 4) ~= "/v1/" then
    return path
  end
  local parts, number, collection = {}, 0, ""
  for part in (path:sub(5) .. "/"):gmatch("([^/]*)/") do
    number = number + 1
    -- An empty part is no id: a path with a slash too many is another path, and no method's.
    if number % 2 == 1 or part == "" or collection == "projects" then
      parts[number] = part
    else
      parts[number] = "*" .. (part:match(":.*$") or "")
    end
    collection = part
  end
  return table.concat(parts, "/")
end

-- The session of a browser, with all that the authorization's decision on it depends on; "" without a session.
local function session(headers)
  local value = ("; " .. (headers:get("cookie") or "")):match("[; ]" .. SESSION_COOKIE .. "=([^;]*)")
  if not value or value == "" then
    return ""
  end
  local own = (headers:get(CONSOLE_HEADER) or "") ~= "" and "own" or ""
  return table.concat({value, own, headers:get("origin") or "", headers:get(":authority") or ""}, "\t")
end

-- An address with its port, `192.0.2.1:4711` or `[2001:db8::1]:4711`, without that.
local function host_of(address)
  return address:match("^%[(.*)%]:%d+$") or address:match("^(.*):%d+$") or address
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local bytes = 0
  for name, value in pairs(headers) do
    bytes = bytes + #name + #value
  end
  headers:replace(ADDRESS_HEADER, host_of(handle:streamInfo():downstreamRemoteAddress()))
  local path = headers:get(":path") or ""
  if bytes > MAX_HEADER_BYTES then
    return refuse(handle, "HEADERS_TOO_LARGE")
  end
  if (tonumber(headers:get("content-length") or "0") or 0) > MAX_BODY_BYTES then
    return refuse(handle, "BODY_TOO_LARGE")
  end
  if path == HEALTH_PATH then
    return
  end
  local question = path:find("?", 1, true)
  if question then
    local wrong, field = wrong_query(path:sub(question + 1))
    if wrong then
      return refuse(handle, wrong, field)
    end
    path = path:sub(1, question - 1)
  end
  local metadata = handle:streamInfo():dynamicMetadata()
  local credential = headers:get("x-api-key") or ""
  local token = headers:get("authorization") or ""
  -- A token counts only with the JWT filter's verdict on this very call; an API key has its own prefix.
  local browser = (credential == "" and token == "") and session(headers) or ""
  local verified = token == "" or token:find("^[Bb][Ee][Aa][Rr][Ee][Rr] +fs_") or (metadata:get(JWT) or {}).payload
  if KEEP_MS > 0 and verified and (credential ~= "" or token ~= "" or browser ~= "") then
    local key = table.concat({credential, token, browser, headers:get(":method") or "", shape(path)}, "\n")
    local entry = kept[key]
    if entry and handle:timestamp() < entry.ends then
      for name, value in pairs(entry.set) do
        headers:replace(name, value)
      end
      for _, name in ipairs(entry.remove) do
        headers:remove(name)
      end
      metadata:set(SPACE, "known", true)
      return
    end
    metadata:set(SPACE, "key", key)
    metadata:set(SPACE, "asked", handle:timestamp())
  end
  metadata:set(SPACE, "asks", "1")
end

-- A gRPC server refuses a message that is too large before any code of ours sees it, and without details.
local function explain(headers)
  local message = headers:get("grpc-message") or ""
  if headers:get("grpc-status") == "8" and message:find("message larger than max", 1, true) then
    headers:replace("grpc-message", TOO_LARGE_MESSAGE)
    headers:replace("grpc-status-details-bin", TOO_LARGE_DETAILS)
  end
end

function envoy_on_response(handle)
  explain(handle:headers())
  local metadata = handle:streamInfo():dynamicMetadata()
  local own = metadata:get(SPACE)
  local answer = metadata:get("envoy.filters.http.ext_authz")
  if not own or not own.key or not answer or not answer.set then
    return
  end
  -- From the moment of asking: a call may have run for minutes since, and the key be withdrawn.
  local ends = own.asked + KEEP_MS
  if ends <= handle:timestamp() then
    return
  end
  if entries >= KEEP_ENTRIES then
    kept, entries = {}, 0
  end
  if not kept[own.key] then
    entries = entries + 1
  end
  kept[own.key] = {set = answer.set, remove = answer.remove, ends = ends}
end
