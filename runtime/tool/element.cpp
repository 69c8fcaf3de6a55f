// element.cpp: every read here is of memory that others are writing. The bounds were checked when
// the view was opened; what is checked here again is what only the kind of a member decides.
#include "element.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include <lagoon/counter.hpp>
#include <lagoon/detail/value_core.hpp>
#include <lagoon/error.hpp>
#include <lagoon/sharded_counter.hpp>

namespace lagoon::inline v1::tool {

using detail::DirectoryEntry;
using detail::Kind;

namespace {

constexpr std::size_t hex_shown_bytes = 32;

template <class T>
void peek_into(const std::byte* from, std::byte* into) {
    // Y1 acquire load, no pair: for display; keeps a later look at a slot's word behind the copy.
    // kept: as its like in pool_info.cpp, which has scenes; none has the command.
    const T value =
        reinterpret_cast<const detail::Atomic<T>*>(from)->load(std::memory_order_acquire);
    std::memcpy(into, &value, sizeof value);
}

/// Copies what others may be writing: one atomic access where the size allows it.
Bytes copy(const std::byte* from, std::uint64_t bytes) {
    Bytes all(bytes);
    std::uint64_t done = 0;
    // Elements of 12 bytes, say, are not all where a word can be.
    const bool by_words = reinterpret_cast<std::uintptr_t>(from) % 8 == 0;
    for (; by_words && done + 8 <= bytes; done += 8)
        peek_into<std::uint64_t>(from + done, &all[done]);
    if (bytes == 4) {
        peek_into<std::uint32_t>(from, all.data());
    } else if (bytes == 2) {
        peek_into<std::uint16_t>(from, all.data());
    } else {
        for (; done < bytes; ++done) peek_into<std::uint8_t>(from + done, &all[done]);
    }
    return all;
}

bool is_one_word(std::uint64_t bytes) {
    return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
}

Bytes read_value(const ArenaView& view, const DirectoryEntry& entry) {
    const auto* object = static_cast<const std::byte*>(view.object(entry));
    const std::uint64_t words = entry.element_bytes / 8 + (entry.element_bytes % 8 != 0 ? 1 : 0);
    const bool narrow = is_one_word(entry.element_bytes);
    const std::uint64_t cell = narrow ? 8 : 16 * words;
    if (entry.element_bytes == 0 || words > entry.object_bytes ||
        sizeof(detail::ValueCore) + cell > entry.object_bytes) {
        throw Error{Errc::corrupt, "arena '" + std::string{view.name()} + "': member '" +
                                       entry.name.data() + "' is smaller than its element"};
    }
    const std::byte* at = object + sizeof(detail::ValueCore);
    if (narrow) return copy(at, entry.element_bytes);
    std::vector<std::uint64_t> whole(words);
    detail::read_wide(*reinterpret_cast<const detail::ValueCore*>(object),
                      reinterpret_cast<const std::uint64_t*>(at), words, whole.data());
    Bytes bytes(entry.element_bytes);
    std::memcpy(bytes.data(), whole.data(), bytes.size());
    return bytes;
}

Bytes read_array(const ArenaView& view, const DirectoryEntry& entry, std::uint64_t index) {
    if (index >= entry.extent) {
        throw Error{Errc::out_of_range, "arena '" + std::string{view.name()} + "': index " +
                                            std::to_string(index) + " of '" + entry.name.data() +
                                            "', which has " + std::to_string(entry.extent) +
                                            " elements"};
    }
    const auto* object = static_cast<const std::byte*>(view.object(entry));
    const std::int64_t from_object = reinterpret_cast<const detail::Storage*>(object)->from_object;
    return copy(object + from_object + index * entry.element_bytes, entry.element_bytes);
}

/// The N of "lagoon::String<N>", or 0.
std::uint64_t string_capacity(std::string_view type) {
    constexpr std::string_view before = "lagoon::String<";
    if (!type.starts_with(before) || !type.ends_with('>')) return 0;
    type.remove_prefix(before.size());
    type.remove_suffix(1);
    std::uint64_t capacity = 0;
    const auto [end, error] = std::from_chars(type.data(), type.data() + type.size(), capacity);
    return error == std::errc{} && end == type.data() + type.size() ? capacity : 0;
}

/// A lagoon::String of that capacity: its length in 1, 2 or 4 bytes, then its bytes.
std::optional<std::string> string_in(std::uint64_t capacity, const Bytes& bytes) {
    const std::size_t prefix = capacity <= 0xff ? 1 : capacity <= 0xffff ? 2 : 4;
    if (capacity == 0 || bytes.size() < prefix || bytes.size() - prefix < capacity) return {};
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), prefix);  // little-endian
    const auto* text = reinterpret_cast<const char*>(bytes.data()) + prefix;
    return std::string(text, std::min(length, capacity));
}

template <class T>
Json number(T value) {
    if constexpr (std::is_floating_point_v<T>) {
        // The shortest text that is this number, so that 0.1f is not 0.10000000149011612.
        std::array<char, 64> text{};
        const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
        double shown = 0;
        if (!std::isfinite(value)) return std::string(text.data(), end);
        std::from_chars(text.data(), end, shown);
        return shown;
    } else if constexpr (std::is_signed_v<T>) {
        return static_cast<std::int64_t>(value);
    } else {
        return static_cast<std::uint64_t>(value);
    }
}

const detail::PoolBody& body_of(const detail::PoolObject& pool) {
    return *reinterpret_cast<const detail::PoolBody*>(reinterpret_cast<const std::byte*>(&pool) +
                                                      pool.body.from_object);
}

}  // namespace

Json to_json(std::string_view type_name, const Bytes& bytes) {
    Json json;
    const bool known = with_arithmetic(type_name, [&]<class T>(std::type_identity<T>) {
        if (bytes.size() != sizeof(T)) return;
        if constexpr (std::is_same_v<T, bool>) {
            json = bytes[0] != std::byte{0};  // any byte may be there, not only 0 and 1
        } else {
            T value{};
            std::memcpy(&value, bytes.data(), sizeof value);
            json = number(value);
        }
    });
    if (known && !json.is_null()) return json;
    if (const auto text = string_in(string_capacity(type_name), bytes)) return *text;
    return Json{{"hex", to_hex(bytes)}};
}

std::string to_text(const Json& value, bool quoted) {
    if (value.is_string()) {
        const std::string text = escaped(value.get_ref<const std::string&>());
        return quoted ? '"' + text + '"' : text;
    }
    if (value.is_object() && value.contains("hex")) {
        const auto& hex = value["hex"].get_ref<const std::string&>();
        if (!quoted || hex.size() <= 2 * hex_shown_bytes) return "hex " + hex;
        return "hex " + hex.substr(0, 2 * hex_shown_bytes) + "...";
    }
    return value.dump();
}

std::string to_hex(const Bytes& bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(2 * bytes.size());
    for (const std::byte byte : bytes) {
        text += digits[std::to_integer<std::size_t>(byte >> 4)];
        text += digits[std::to_integer<std::size_t>(byte & std::byte{15})];
    }
    return text;
}

const DirectoryEntry& find_member(const ArenaView& view, const std::string& name) {
    const DirectoryEntry* entry = view.entry(name);
    if (entry == nullptr) {
        throw Error{Errc::not_found, "arena '" + std::string{view.name()} + "' has no member '" +
                                         name + "'; see `lagoon show " + std::string{view.name()} +
                                         "`"};
    }
    return *entry;
}

Json read_element(const ArenaView& view, const DirectoryEntry& entry,
                  std::optional<std::uint64_t> index) {
    const std::string name = entry.name.data();
    const std::string what = "arena '" + std::string{view.name()} + "': member '" + name + "'";
    const Kind kind = kind_of(entry);
    if (index.has_value() != (kind == Kind::array)) {
        throw Error{Errc::invalid_argument, what + (index ? " has no index: it is no array"
                                                          : " is an array: an index is missing")};
    }
    switch (kind) {
        case Kind::counter: return view.find<Counter>(name).load();
        case Kind::sharded_counter: return view.find<ShardedCounter>(name).load();
        case Kind::value: return to_json(entry.element_type.data(), read_value(view, entry));
        case Kind::array:
            return to_json(entry.element_type.data(), read_array(view, entry, *index));
        default:
            throw Error{Errc::invalid_argument,
                        what + " has no value of its own; see `lagoon show`"};
    }
}

std::uint64_t peek(const void* word) {
    // Y2 acquire load, no pair: for display. kept: as Y1.
    return static_cast<const detail::Atomic<std::uint64_t>*>(word)->load(std::memory_order_acquire);
}

Bytes read_held(const detail::PoolObject& pool, std::uint64_t index) {
    const auto* slot = reinterpret_cast<const std::byte*>(&detail::pool_slot(pool, index));
    return copy(slot + body_of(pool).value_at, body_of(pool).value_bytes);
}

std::optional<Bytes> read_idle(const detail::PoolObject& pool, std::uint64_t index) {
    constexpr int attempts = 8;  // a slot that keeps moving is not idle
    const detail::SlotHead& slot = detail::pool_slot(pool, index);
    for (int i = 0; i < attempts; ++i) {
        // A slot that a thread keeps is not read: its claim may not be visible yet.
        const std::uint64_t word = peek(&slot.truth);
        if (detail::word::state(word) != detail::SlotState::free) return {};
        Bytes bytes = read_held(pool, index);
        if (peek(&slot.truth) == word) return bytes;
    }
    return {};
}

}  // namespace lagoon::inline v1::tool
