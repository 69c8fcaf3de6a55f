// text.hpp: what the command writes: escaped, aligned, or as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace lagoon::inline v1::tool {

using Json = nlohmann::ordered_json;

/// `text` with everything that could steer a terminal, and every backslash, as \n, \\ or \xNN.
/// Other well-formed UTF-8 stays.
[[nodiscard]] std::string escaped(std::string_view text);

/// "2001-02-03 04:05:06 UTC".
[[nodiscard]] std::string time_text(std::uint64_t realtime_ns);

/// Left-aligned columns, two blanks apart, none behind the last; `indent` blanks before each row.
[[nodiscard]] std::string table(const std::vector<std::vector<std::string>>& rows,
                                std::size_t indent = 0);

/// Writes to standard output; throws lagoon::Error when that fails.
void print(const std::string& text);
/// The document and a newline; bytes that are not UTF-8 as U+FFFD.
void print(const Json& document);
/// "lagoon: text" as one escaped line on standard error.
void complain(std::string_view text);

}  // namespace lagoon::inline v1::tool
