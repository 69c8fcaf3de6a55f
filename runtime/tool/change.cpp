// change.cpp: `lagoon get`, `add`, `reap` and `rm`.
#include <charconv>
#include <limits>

#include <lagoon/arena.hpp>
#include <lagoon/array.hpp>
#include <lagoon/counter.hpp>
#include <lagoon/error.hpp>
#include <lagoon/outcome.hpp>
#include <lagoon/sharded_counter.hpp>
#include <lagoon/value.hpp>

#include "commands.hpp"
#include "element.hpp"
#include "runtime/arena_file.hpp"
#include "text.hpp"

namespace lagoon::inline v1::tool {

using detail::DirectoryEntry;
using detail::Kind;

namespace {

[[noreturn]] void refuse_amount(const std::string& text, std::string_view type) {
    throw Error{Errc::invalid_argument,
                "'" + text + "' cannot be added to a number of type " + std::string{type}};
}

/// A whole number in decimal. A negative one is taken modulo 2^N by an unsigned type, so that
/// adding it subtracts.
template <class T>
T parse_amount(const std::string& text) {
    const auto type = detail::fundamental_name<T>();
    const char* begin = text.data();
    const char* end = begin + text.size();
    if constexpr (std::is_floating_point_v<T>) {
        T amount{};
        const auto [at, error] = std::from_chars(begin, end, amount);
        if (error != std::errc{} || at != end) refuse_amount(text, type);
        return amount;
    } else {
        const bool negative = begin != end && *begin == '-';
        if (begin != end && (*begin == '-' || *begin == '+')) ++begin;
        std::uint64_t magnitude = 0;
        const auto [at, error] = std::from_chars(begin, end, magnitude);
        if (error != std::errc{} || at != end) refuse_amount(text, type);
        const auto most = static_cast<std::uint64_t>(std::numeric_limits<T>::max());
        if (magnitude > (negative && std::is_signed_v<T> ? most + 1 : most)) {
            refuse_amount(text, type);
        }
        return static_cast<T>(negative ? 0 - magnitude : magnitude);
    }
}

template <class T>
Json as_json(T value) {
    Bytes bytes(sizeof(T));
    std::memcpy(bytes.data(), &value, sizeof(T));
    return to_json(detail::fundamental_name<T>(), bytes);
}

/// Returns the number just before, or null when the element is of another type.
Json add_to_element(const ArenaView& view, const DirectoryEntry& entry, const Place& place,
                    const std::string& amount) {
    Json before;
    const std::string name = entry.name.data();
    with_arithmetic(entry.element_type.data(), [&]<class T>(std::type_identity<T>) {
        if (kind_of(entry) == Kind::value) {
            before = as_json(view.find<Value<T>>(name).fetch_add(parse_amount<T>(amount)));
        } else if constexpr (detail::fits_one_word<T>) {
            auto element = view.find<Array<T>>(name).at(*place.index);
            before = as_json(element.add(parse_amount<T>(amount)));
        }
    });
    return before;
}

/// What `add` prints.
Json add_to_member(const ArenaView& view, const DirectoryEntry& entry, const Place& place,
                   const std::string& amount) {
    const std::string name = entry.name.data();
    const std::string what = "arena '" + place.arena + "': member '" + name + "'";
    if (place.index.has_value() != (kind_of(entry) == Kind::array)) {
        throw Error{Errc::invalid_argument,
                    what + (place.index ? " has no index: it is no array"
                                        : " is an array: an index is missing")};
    }
    Json printed;
    switch (kind_of(entry)) {
        case Kind::counter: return view.find<Counter>(name).add(parse_amount<std::int64_t>(amount));
        case Kind::sharded_counter: {
            auto& counter = view.find<ShardedCounter>(name);
            counter.add(parse_amount<std::int64_t>(amount));
            return counter.load();
        }
        case Kind::value:
        case Kind::array: printed = add_to_element(view, entry, place, amount); break;
        default: break;
    }
    if (printed.is_null()) {
        throw Error{Errc::invalid_argument,
                    what +
                        " is no counter and no number of at most 8 bytes (Value<T> or "
                        "Array<T>), so nothing can be added to it"};
    }
    return printed;
}

bool exists(const Common& common, const std::string& arena) {
    return os::file_at(detail::arena_path(detail::arena_directory(common.directory), arena)) !=
           os::FileId{};
}

}  // namespace

int get(const Common& common, const Place& place) {
    const ArenaView view = ArenaView::open(
        place.arena, {.writable = false, .owner = common.owner, .directory = common.directory});
    const DirectoryEntry& entry = find_member(view, place.member);
    if (kind_of(entry) == Kind::array && !place.index) {
        Json all = Json::array();
        std::string lines;
        for (std::uint64_t i = 0; i < entry.extent; ++i) {
            Json value = read_element(view, entry, i);
            if (common.json) {
                all.push_back(std::move(value));
            } else {
                lines += to_text(value, false) + '\n';
            }
        }
        common.json ? print(all) : print(lines);
        return 0;
    }
    const Json value = read_element(view, entry, place.index);
    common.json ? print(value) : print(to_text(value, false) + '\n');
    return 0;
}

int add(const Common& common, const Place& place, const std::string& amount) {
    Json printed;
    {
        const ArenaView view = ArenaView::open(place.arena, {.writable = true,
                                                             .owner = common.owner,
                                                             .directory = common.directory,
                                                             .keeper = false});
        printed = add_to_member(view, find_member(view, place.member), place, amount);
    }
    print(to_text(printed, false) + '\n');
    return 0;
}

int reap(const Common& common, const std::string& arena) {
    const Reaped done =
        lagoon::reap(arena, OpenOptions{.owner = common.owner, .directory = common.directory});
    const bool removed = !exists(common, arena);
    const Json json = {{"name", arena},
                       {"processes", done.processes},
                       {"leases", done.leases},
                       {"builds", done.builds},
                       {"locks", done.locks},
                       {"hooks_run", done.hooks_run},
                       {"dirty_left", done.dirty_left},
                       {"removed", removed}};
    if (common.json) {
        print(json);
        return 0;
    }
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, value] : json.items()) {
        rows.push_back({key, value.is_string()    ? escaped(value.get<std::string>())
                             : value.is_boolean() ? (value.get<bool>() ? "yes" : "no")
                                                  : value.dump()});
    }
    print(table(rows));
    if (done.dirty_left != 0) {
        complain(std::to_string(done.dirty_left) +
                 " slots stay dirty: they want a hook (check, reset or destroy), and only their "
                 "own program has it; they go on when it next acquires or reaps");
    }
    return 0;
}

int evict(const Common& common, const std::string& arena, std::uint32_t pid,
          std::optional<double> timeout_seconds) {
    const auto deadline =
        timeout_seconds ? detail::deadline_after(std::chrono::duration<double>{*timeout_seconds})
                        : detail::for_ever;
    const Outcome outcome = lagoon::evict(
        arena, pid, OpenOptions{.owner = common.owner, .directory = common.directory}, deadline);
    if (common.json) {
        print(Json{{"name", arena}, {"pid", pid}, {"outcome", to_string(outcome)}});
    }
    if (outcome == Outcome::ok) return 0;
    complain("arena '" + arena + "': process " + std::to_string(pid) +
             " was sent SIGKILL and is not gone yet (" + to_string(outcome) +
             "); it is taken care of when it is: see `lagoon reap`");
    return exit_outcome;
}

int remove(const Common& common, const std::string& arena) {
    const bool removed =
        lagoon::remove(arena, OpenOptions{.owner = common.owner, .directory = common.directory});
    if (common.json) print(Json{{"name", arena}, {"removed", removed}});
    if (removed) return 0;
    complain("arena '" + arena + "' does not exist: there is no " +
             detail::arena_path(detail::arena_directory(common.directory), arena));
    return exit_outcome;
}

}  // namespace lagoon::inline v1::tool
