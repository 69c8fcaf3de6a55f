// inspect.cpp: `lagoon ls` and `lagoon show`. Both make one JSON document and, where text is
// wanted, lay that out; both map the arena read-only and change nothing in it.
#include <lagoon/detail/layout.hpp>
#include <lagoon/error.hpp>
#include <lagoon/pool_options.hpp>

#include "commands.hpp"
#include "element.hpp"
#include "policy.hpp"
#include "runtime/arena_file.hpp"
#include "runtime/pool_body.hpp"
#include "text.hpp"

namespace lagoon::inline v1::tool {

using detail::DirectoryEntry;
using detail::Kind;

namespace {

/// Who is behind a lane.
class Owners {
public:
    Owners(const ArenaView& view, const std::byte* base)
        : header_{*reinterpret_cast<const detail::ArenaHeader*>(base)},
          base_{base},
          processes_{view.processes()} {}

    /// {"pid": 12, "alive": true}; null where nobody has the lane.
    [[nodiscard]] Json of_lane(std::uint32_t lane) const {
        if (lane >= header_.max_members) {
            if (lane >= header_.max_lanes) return nullptr;
            const auto* lanes =
                reinterpret_cast<const detail::LaneEntry*>(base_ + header_.lanes_offset);
            const std::uint64_t state = peek(&lanes[lane - header_.max_members].state);
            if (!detail::is_live(state)) return nullptr;
            lane = detail::member_of_lane(state);
        }
        for (const auto& process : processes_) {
            if (process.member == lane) return {{"pid", process.pid}, {"alive", process.alive}};
        }
        return nullptr;
    }

private:
    const detail::ArenaHeader& header_;
    const std::byte* base_;
    std::vector<ProcessInfo> processes_;
};

std::string owner_text(const Json& owner) {
    if (owner.is_null()) return "";
    return std::to_string(owner["pid"].get<std::uint64_t>()) +
           (owner["alive"].get<bool>() ? "" : " (dead)");
}

ViewOptions read_only(const Common& common) {
    return {.writable = false, .owner = common.owner, .directory = common.directory};
}

Json describe_lock(const ArenaView& view, const DirectoryEntry& entry, const Owners& owners) {
    // As lock.hpp has it: bits 0 to 9 owner lane, 10 locked, 11 waiters, 12 dirty.
    const std::uint64_t word = peek(view.object(entry));
    const bool locked = (word >> 10 & 1) != 0;
    return {{"locked", locked},
            {"owner", locked ? owners.of_lane(word & 0x3ff) : Json()},
            {"waiters", (word >> 11 & 1) != 0},
            {"dirty", (word >> 12 & 1) != 0}};
}

SlotStatus status_of(const detail::Seen& seen) {
    using detail::SlotState;
    switch (detail::word::state(seen.word)) {
        case SlotState::empty: return SlotStatus::empty;
        case SlotState::building: return SlotStatus::creating;
        case SlotState::free: return SlotStatus::idle;
        case SlotState::biased:
        case SlotState::revoking: return seen.lent ? SlotStatus::leased : SlotStatus::idle;
        case SlotState::held: return SlotStatus::leased;
        case SlotState::dirty: return SlotStatus::dirty;
        case SlotState::checking: return SlotStatus::checking;
        case SlotState::closing: return SlotStatus::closing;
        case SlotState::quarantined: return SlotStatus::quarantined;
        default: return SlotStatus::retired;
    }
}

Json describe_slot(const detail::PoolObject& pool, std::uint64_t index, const detail::Seen& seen,
                   const DirectoryEntry& entry, const Owners& owners) {
    const std::uint64_t word = seen.word;
    Json slot = {{"slot", index},
                 {"state", to_string(status_of(seen))},
                 {"fill", detail::pool_fill(pool, index)},
                 {"uses", detail::word::generation(word) / 2},
                 {"recovered", detail::word::recovered(word)},
                 {"owner", nullptr},
                 {"value", nullptr}};
    if (detail::word::names_owner(word) || seen.lent)
        slot["owner"] = owners.of_lane(detail::word::owner(word));
    if (const auto bytes = read_idle(pool, index)) {
        slot["value"] = to_json(entry.element_type.data(), *bytes);
    }
    return slot;
}

Json describe_pool(const ArenaView& view, const DirectoryEntry& entry, const Owners& owners,
                   std::uint64_t limit) {
    const auto& pool = *static_cast<const detail::PoolObject*>(view.object(entry));
    const auto& body = *reinterpret_cast<const detail::PoolBody*>(
        reinterpret_cast<const std::byte*>(&pool) + pool.body.from_object);
    const PoolStats stats = detail::pool_stats(pool);
    Json json = {{"closed", detail::pool_is_closed(pool)},
                 {"policy", policy_of(body)},
                 {"capacity", stats.capacity},
                 {"idle", stats.idle},
                 {"leased", stats.leased},
                 {"empty", stats.empty},
                 {"creating", stats.creating},
                 {"dirty", stats.dirty},
                 {"maintained", stats.maintained},
                 {"quarantined", stats.quarantined},
                 {"waiting", stats.waiting},
                 {"acquired", stats.acquired},
                 {"created", stats.created},
                 {"destroyed", stats.destroyed},
                 {"create_failed", stats.create_failed},
                 {"recovered", stats.recovered},
                 {"quarantines", stats.quarantines},
                 {"hooks_missing", stats.hooks_missing},
                 {"waits", stats.waits},
                 {"timed_out", stats.timed_out},
                 {"late_wakes", stats.late_wakes},
                 {"damaged", stats.damaged},
                 {"ended_by_lifetime", stats.ended_by_lifetime},
                 {"ended_by_uses", stats.ended_by_uses},
                 {"ended_by_idle", stats.ended_by_idle},
                 {"ended_by_failures", stats.ended_by_failures},
                 {"ended_by_check", stats.ended_by_check},
                 {"retry_in_ns", stats.retry_in.count()},
                 {"times", times_of(pool)},
                 {"slots", Json::array()}};
    for (std::uint64_t index = 0; index < body.capacity; ++index) {
        if (limit != 0 && json["slots"].size() >= limit) break;
        const detail::Seen seen = detail::see_slot(pool, index);
        if (status_of(seen) == SlotStatus::empty) continue;
        json["slots"].push_back(describe_slot(pool, index, seen, entry, owners));
    }
    return json;
}

Json describe_member(const ArenaView& view, const MemberInfo& info, std::uint64_t limit) {
    const DirectoryEntry& entry = find_member(view, info.name);
    const auto* base = static_cast<const std::byte*>(view.object(entry)) - info.offset;
    Json json = {{"name", info.name},
                 {"type", info.kind},
                 {"element_type", info.element_type},
                 {"element_bytes", info.element_bytes},
                 {"extent", info.extent},
                 {"offset", info.offset},
                 {"storage_bytes", info.bytes}};
    switch (kind_of(entry)) {
        case Kind::counter:
        case Kind::sharded_counter:
        case Kind::value: json["value"] = read_element(view, entry, {}); break;
        case Kind::array: {
            const std::uint64_t shown = limit == 0 ? info.extent : std::min(info.extent, limit);
            json["values"] = Json::array();
            for (std::uint64_t i = 0; i < shown; ++i) {
                json["values"].push_back(read_element(view, entry, i));
            }
            break;
        }
        case Kind::lock: json["lock"] = describe_lock(view, entry, Owners{view, base}); break;
        case Kind::pool:
            json["pool"] = describe_pool(view, entry, Owners{view, base}, limit);
            break;
        default: break;
    }
    return json;
}

Json describe(const Common& common, const std::string& name, std::uint64_t limit) {
    const ArenaView view = ArenaView::open(name, read_only(common));
    Json json = {{"name", name},
                 {"made_as", view.name()},
                 {"file", detail::arena_path(detail::arena_directory(common.directory), name)},
                 {"bytes", view.bytes()},
                 {"lifetime", view.scoped() ? "scoped" : "persistent"},
                 {"shut_down", view.is_shut_down()},
                 {"created", time_text(view.created_realtime_ns())},
                 {"created_realtime_ns", view.created_realtime_ns()},
                 {"creator_pid", view.creator_pid()},
                 {"deaths", view.deaths()},
                 {"processes", Json::array()},
                 {"members", Json::array()}};
    for (const auto& process : view.processes()) {
        json["processes"].push_back({{"member", process.member},
                                     {"pid", process.pid},
                                     {"alive", process.alive},
                                     {"keeper", process.keeper},
                                     {"attached", time_text(process.attached_realtime_ns)}});
    }
    for (const auto& info : view.members()) {
        json["members"].push_back(describe_member(view, info, limit));
    }
    return json;
}

/// A member's value in one cell.
std::string value_cell(const Json& member) {
    if (member.contains("value")) return to_text(member["value"]);
    if (member.contains("values")) {
        std::string text;
        for (const auto& value : member["values"]) {
            text += (text.empty() ? "" : ", ") + to_text(value);
        }
        const std::uint64_t more = member["extent"].get<std::uint64_t>() - member["values"].size();
        if (more != 0) text += (text.empty() ? "" : ", ") + std::to_string(more) + " more";
        return '[' + text + ']';
    }
    if (member.contains("lock")) {
        const Json& lock = member["lock"];
        std::string text = "free";
        if (lock["locked"].get<bool>()) text = "locked by " + owner_text(lock["owner"]);
        return text + (lock["dirty"].get<bool>() ? ", dirty" : "");
    }
    if (!member.contains("pool")) return "";
    std::string text = member["pool"]["closed"].get<bool>() ? "closed" : "";
    for (const char* level :
         {"idle", "leased", "empty", "creating", "dirty", "maintained", "quarantined", "waiting"}) {
        const auto count = member["pool"][level].get<std::uint64_t>();
        if (count == 0) continue;
        text += (text.empty() ? "" : ", ") + std::to_string(count) + ' ' + level;
    }
    return text;
}

std::string pool_text(const Json& member) {
    const Json& pool = member["pool"];
    std::string counts;
    for (const char* count :
         {"acquired", "created", "destroyed", "create_failed", "recovered", "quarantines",
          "hooks_missing", "waits", "timed_out", "late_wakes", "damaged", "ended_by_lifetime",
          "ended_by_uses", "ended_by_idle", "ended_by_failures", "ended_by_check"}) {
        counts += std::string{counts.empty() ? "" : ", "} + count + ' ' + pool[count].dump();
    }
    std::string text = "\npool " + escaped(member["name"].get<std::string>()) + "\n  " +
                       policy_text(pool["policy"]) + "\n  " + counts + '\n';
    text += times_text(pool["times"]);
    if (pool["slots"].empty()) return text;
    std::vector<std::vector<std::string>> rows{
        {"SLOT", "STATE", "FILL", "USES", "OWNER", "RECOVERED", "VALUE"}};
    for (const auto& slot : pool["slots"]) {
        rows.push_back({slot["slot"].dump(), slot["state"].get<std::string>(), slot["fill"].dump(),
                        slot["uses"].dump(), owner_text(slot["owner"]),
                        slot["recovered"].get<bool>() ? "yes" : "no",
                        slot["value"].is_null() ? "" : to_text(slot["value"])});
    }
    const std::uint64_t filled =
        pool["capacity"].get<std::uint64_t>() - pool["empty"].get<std::uint64_t>();
    text += table(rows, 2);
    if (filled > pool["slots"].size()) {
        text += "  " + std::to_string(filled - pool["slots"].size()) + " more\n";
    }
    return text;
}

std::string lay_out(const Json& arena) {
    std::vector<std::vector<std::string>> facts{
        {"arena", escaped(arena["name"].get<std::string>())},
        {"file", escaped(arena["file"].get<std::string>())},
        {"bytes", arena["bytes"].dump()},
        {"lifetime", arena["lifetime"].get<std::string>()},
        {"state", arena["shut_down"].get<bool>() ? "shut down" : "open"},
        {"created", arena["created"].get<std::string>() + " by " + arena["creator_pid"].dump()},
        {"deaths", arena["deaths"].dump()}};
    if (arena["made_as"] != arena["name"]) {
        facts.push_back({"made as", escaped(arena["made_as"].get<std::string>())});
    }
    std::string text = table(facts);
    if (!arena["processes"].empty()) {
        std::vector<std::vector<std::string>> rows{
            {"MEMBER", "PID", "STATE", "KEEPER", "ATTACHED"}};
        for (const auto& process : arena["processes"]) {
            rows.push_back({process["member"].dump(), process["pid"].dump(),
                            process["alive"].get<bool>() ? "alive" : "dead",
                            process["keeper"].get<bool>() ? "yes" : "no",
                            process["attached"].get<std::string>()});
        }
        text += "\nprocesses\n" + table(rows, 2);
    }
    if (arena["members"].empty()) return text;
    std::vector<std::vector<std::string>> rows{{"NAME", "TYPE", "EXTENT", "VALUE"}};
    for (const auto& member : arena["members"]) {
        const bool extends = member.contains("values") || member.contains("pool");
        rows.push_back({escaped(member["name"].get<std::string>()),
                        escaped(member["type"].get<std::string>()),
                        extends ? member["extent"].dump() : "", value_cell(member)});
    }
    text += "\nmembers\n" + table(rows, 2);
    for (const auto& member : arena["members"]) {
        if (member.contains("pool")) text += pool_text(member);
    }
    return text;
}

Json describe_file(const Common& common, const ArenaListing& listing) {
    Json json = {{"name", listing.name},
                 {"bytes", listing.bytes},
                 {"lifetime", nullptr},
                 {"alive", nullptr},
                 {"dead", nullptr},
                 {"shut_down", nullptr},
                 {"problem", listing.problem.empty() ? Json() : Json(listing.problem)}};
    if (!listing.problem.empty()) return json;
    try {
        const ArenaView view = ArenaView::open(listing.name, read_only(common));
        std::uint64_t alive = 0;
        std::uint64_t dead = 0;
        for (const auto& process : view.processes()) ++(process.alive ? alive : dead);
        json["lifetime"] = view.scoped() ? "scoped" : "persistent";
        json["alive"] = alive;
        json["dead"] = dead;
        json["shut_down"] = view.is_shut_down();
    } catch (const Error& error) {
        if (error.errc() == Errc::no_such_arena) return {};  // gone meanwhile
        json["problem"] = error.what();
    }
    return json;
}

}  // namespace

int list(const Common& common) {
    Json all = Json::array();
    for (const auto& listing : list_arenas(common.directory)) {
        Json one = describe_file(common, listing);
        if (!one.is_null()) all.push_back(std::move(one));
    }
    if (common.json) {
        print(all);
        return 0;
    }
    if (all.empty()) return 0;
    std::vector<std::vector<std::string>> rows{
        {"NAME", "BYTES", "LIFETIME", "ALIVE", "DEAD", "STATE"}};
    for (const auto& one : all) {
        const std::string name = escaped(one["name"].get<std::string>());
        if (one["problem"].is_null()) {
            rows.push_back({name, one["bytes"].dump(), one["lifetime"].get<std::string>(),
                            one["alive"].dump(), one["dead"].dump(),
                            one["shut_down"].get<bool>() ? "shut down" : "open"});
        } else {
            rows.push_back({name, one["bytes"].dump(), "-", "-", "-",
                            escaped(one["problem"].get<std::string>())});
        }
    }
    print(table(rows));
    return 0;
}

int show(const Common& common, const std::string& arena, std::uint64_t limit) {
    const Json json = describe(common, arena, limit);
    if (common.json) {
        print(json);
    } else {
        print(lay_out(json));
    }
    return 0;
}

}  // namespace lagoon::inline v1::tool
