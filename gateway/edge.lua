-- Runs in Envoy before the authorization, in each worker thread by itself. gateway/envoy_edge.py puts in front of it:
-- KEEP_MS, KEEP_ENTRIES, MAX_HEADER_BYTES, MAX_BODY_BYTES, MAX_JSON_BYTES, HEALTH_PATH, SESSION_COOKIE, CONSOLE_HEADER,
-- ADDRESS_HEADER, HEAD_HEADER,
-- REFUSED (reason -> {status, message}), IN_OTHER_WORDS (what a gRPC server says by itself: {status, its words in part,
-- code, message, details}), the sets of plain names CREDENTIAL_NAMES and PATH_VARIABLES, and what
-- gateway/query_names.py makes: QUERY_FIELDS, QUERIES, VERBS, BYTES; then edge_query.lua.
--
-- A browser's session counts by its cookie together with what shows that a page of ours made the call.
--
-- It refuses what no service need see (oversize headers, bodies that announce too much or are packed, verbs that a path
-- does not take, calls that a path does not have, credentials, path variables or names that the method does not have in
-- a query), writes If-Match into the query, and answers from memory for a credential that the authorization service has
-- just let through with a call of the same shape.

local SPACE = "fiveshot.edge"
local JWT = "envoy.filters.http.jwt_authn"
local kept, entries = {}, 0

-- violations: {field, description} of each field of the API that is wrong. message: in place of the usual one. more:
-- headers.
local function refuse(handle, reason, violations, message, more)
  local refusal = REFUSED[reason]
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set(SPACE, "refused", reason)
  metadata:set(SPACE, "message", message or refusal.message)
  if violations then
    metadata:set(SPACE, "violations", violations)
  end
  local headers = more or {}
  headers[":status"] = refusal.status
  handle:respond(headers, refusal.message)
end

-- What is wrong with a path that ends with a call that there is not, `:wacht`.
local function wrong_call(place)
  local stem, call = place:match("^([^:]*):([^:/]*)$")
  if not stem or VERBS[place] then
    return nil
  end
  local calls = {}
  for known in pairs(VERBS) do
    if known:sub(1, #stem + 1) == stem .. ":" then
      calls[#calls + 1] = known:sub(#stem + 1)
    end
  end
  if #calls == 0 and not VERBS[stem] then
    return nil
  end
  table.sort(calls)
  local others = #calls > 0 and "; there is " .. table.concat(calls, ", ") or ""
  return "There is no call :" .. shown(call) .. " here" .. others
end

-- What If-Match says, as the parameter of the query that the method has for it: nil where there is nothing to check,
-- false where it cannot be.
local function precondition(value, call)
  if not value or value == "" or value:match("^%s*%*%s*$") then
    return nil
  end
  local method = QUERIES[call]
  if not method then
    return nil
  end
  local etag = value:match('^%s*"?([%w_-]+)"?%s*$')
  if not etag or not method[3] then
    return false
  end
  return method[3] .. "=" .. etag
end

-- A path with its resource ids taken out, but for the project's, so that calls of one method share an entry:
-- projects/acme/datasets/*/images/*:download. What the authorization decides may depend on nothing else.
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
  local bytes, binary, odd = 0, {}, {}
  for name, value in pairs(headers) do
    bytes = bytes + #name + #value
    if name:sub(-4) == "-bin" then
      binary[#binary + 1] = name
    elseif name:sub(1, 1) ~= ":" and value:find("[^ -~]") then
      odd[name] = value
    end
  end
  -- gRPC carries nothing but ASCII: a request id goes back in the answer and would break it off, and of any other header
  -- that holds more a service logs an error, several times.
  for name, value in pairs(odd) do
    headers:replace(name, (value:gsub("[^ -~]", "?")))
  end
  -- A gRPC server takes these for base64 and breaks a call off whose are not; a call in JSON has no use for them.
  if #binary > 0 and (headers:get("content-type") or ""):sub(1, 16) ~= "application/grpc" then
    for _, name in ipairs(binary) do
      headers:remove(name)
    end
  end
  -- HTTP/1.1 may come without it, and a gRPC server breaks such a call off.
  if (headers:get("content-type") or ""):sub(1, 16) == "application/grpc" and not headers:get("te") then
    headers:replace("te", "trailers")
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
  -- The library of the services gives up on such a call with words of its own.
  local patience = headers:get("grpc-timeout")
  if patience and not (patience:match("^%d+[HMSmun]$") and #patience <= 9) then
    return refuse(handle, "TIMEOUT_INVALID")
  end
  local question = path:find("?", 1, true)
  local query = question and path:sub(question + 1)
  path = question and path:sub(1, question - 1) or path
  local verb = headers:get(":method") or ""
  local place = shape(path):gsub("^(projects/)[^/:]+", "%1*"):gsub("/+$", "")
  local call = verb .. " " .. place
  local in_json = path:sub(1, 4) == "/v1/"
  if in_json then
    local packed = (headers:get("content-encoding") or ""):lower()
    if packed ~= "" and packed ~= "identity" then
      return refuse(handle, "CONTENT_ENCODING_UNSUPPORTED", nil, nil, {["accept-encoding"] = "identity"})
    end
    if (headers:get("content-type") or ""):lower():sub(1, 10) == "multipart/" then
      return refuse(handle, "CONTENT_TYPE_UNSUPPORTED")
    end
    local message = not path:find("%", 1, true) and wrong_call(place)
    if message then
      return refuse(handle, "CALL_UNKNOWN", nil, message)
    end
  end
  -- What is escaped may read otherwise further on: the authorization decides on it.
  if VERBS[place] and not QUERIES[call] and not path:find("%", 1, true) then
    local message = (verb:match("^%u+$") or "This method") .. " is not offered here; this path takes " .. VERBS[place]
    return refuse(handle, "METHOD_NOT_ALLOWED", nil, message, {allow = VERBS[place]})
  end
  -- The filter that keeps JSON whole would refuse it too; but while the authorization is asked, Envoy stops reading what
  -- is too large, and then neither goes on.
  local announced = tonumber(headers:get("content-length") or "0") or 0
  if path:sub(1, 4) == "/v1/" and not BYTES[call] and announced > MAX_JSON_BYTES then
    return handle:respond({[":status"] = "413"}, "Payload Too Large")
  end
  local etag = in_json and precondition(headers:get("if-match"), call)
  if etag == false and headers:get("if-match") then
    return refuse(handle, "IF_MATCH_UNSUPPORTED")
  end
  if etag then
    query = (query and query ~= "" and query .. "&" or "") .. etag
    headers:replace(":path", path .. "?" .. query)
  end
  if query then
    local reason, violations, message = wrong_query(query, call)
    if reason then
      return refuse(handle, reason, violations, message)
    end
  end
  -- No method of ours is called by HEAD: it is GET whose answer loses its body on its way out.
  headers:remove(HEAD_HEADER)
  if verb == "HEAD" and QUERIES[call] then
    verb = "GET"
    headers:replace(":method", verb)
    headers:replace(HEAD_HEADER, "1")
    handle:streamInfo():dynamicMetadata():set(SPACE, "head", true)
  end
  local metadata = handle:streamInfo():dynamicMetadata()
  local credential = headers:get("x-api-key") or ""
  local token = headers:get("authorization") or ""
  -- A token counts only with the JWT filter's verdict on this very call; an API key has its own prefix.
  local browser = (credential == "" and token == "") and session(headers) or ""
  local verified = token == "" or token:find("^[Bb][Ee][Aa][Rr][Ee][Rr] +fs_") or (metadata:get(JWT) or {}).payload
  if KEEP_MS > 0 and verified and (credential ~= "" or token ~= "" or browser ~= "") then
    local key = table.concat({credential, token, browser, verb, shape(path)}, "\n")
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

-- A gRPC server refuses what it cannot read before any code of ours sees it, and without details.
local function explain(headers)
  local status, message = headers:get("grpc-status"), headers:get("grpc-message") or ""
  if status ~= "8" and status ~= "13" then
    return
  end
  for _, other in ipairs(IN_OTHER_WORDS) do
    if status == other[1] and message:find(other[2], 1, true) then
      headers:replace("grpc-status", other[3])
      headers:replace("grpc-message", other[4])
      headers:replace("grpc-status-details-bin", other[5])
      return
    end
  end
end

function envoy_on_response(handle)
  explain(handle:headers())
  local metadata = handle:streamInfo():dynamicMetadata()
  local own = metadata:get(SPACE)
  local answer = metadata:get("envoy.filters.http.ext_authz")
  if own and own.head then
    for chunk in handle:bodyChunks() do
      chunk:setBytes("")
    end
  end
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
