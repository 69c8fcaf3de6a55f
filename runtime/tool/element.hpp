// element.hpp: elements of an arena's members as values, by the name of their type.
//
//   Errors     find_member and read_element throw not_found, out_of_range, invalid_argument
//
// Numbers and lagoon::String are shown as such; of all other types the bytes, in hexadecimal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <lagoon/arena_view.hpp>
#include <lagoon/detail/pool_core.hpp>
#include <lagoon/detail/type_name.hpp>

#include "text.hpp"

namespace lagoon::inline v1::tool {

using Bytes = std::vector<std::byte>;

/// Calls `use(std::type_identity<T>{})` for the arithmetic type of that name; false: it is none.
template <class Use>
bool with_arithmetic(std::string_view type_name, Use&& use) {
    const auto try_all = [&]<class... T>(detail::TypeList<T...>) {
        const auto try_one = [&]<class One>(std::type_identity<One> type) {
            if (type_name != detail::fundamental_name<One>()) return false;
            use(type);
            return true;
        };
        return (try_one(std::type_identity<T>{}) || ...);
    };
    return try_all(
        detail::TypeList<bool, char, signed char, unsigned char, wchar_t, char8_t, char16_t,
                         char32_t, short, unsigned short, int, unsigned int, long, unsigned long,
                         long long, unsigned long long, float, double, long double>{});
}

/// A value of that type: a number, a bool, a text, or {"hex": "..."}.
[[nodiscard]] Json to_json(std::string_view type_name, const Bytes& bytes);

/// What to_json made, for people: texts escaped and, if asked, quoted; long hex cut short.
[[nodiscard]] std::string to_text(const Json& value, bool quoted = true);
/// "0a0b0c".
[[nodiscard]] std::string to_hex(const Bytes& bytes);

[[nodiscard]] const detail::DirectoryEntry& find_member(const ArenaView& view,
                                                        const std::string& name);
[[nodiscard]] inline detail::Kind kind_of(const detail::DirectoryEntry& entry) {
    return static_cast<detail::Kind>(entry.kind);
}

/// One element of a counter, value or array; the index must be there for an array alone. Elements
/// wider than 8 bytes of an array may be torn, all others are whole.
[[nodiscard]] Json read_element(const ArenaView& view, const detail::DirectoryEntry& entry,
                                std::optional<std::uint64_t> index);

/// One word of the arena for display.
[[nodiscard]] std::uint64_t peek(const void* word);

/// The resource of a slot that is idle, whole; nothing when it is not.
[[nodiscard]] std::optional<Bytes> read_idle(const detail::PoolObject& pool, std::uint64_t index);
/// The resource of a slot that the caller holds.
[[nodiscard]] Bytes read_held(const detail::PoolObject& pool, std::uint64_t index);

}  // namespace lagoon::inline v1::tool
