// pool_explain.cpp: an outcome of a pool in words, with the counts that explain it.
#include <algorithm>
#include <map>

#include <lagoon/outcome.hpp>

#include "attachment.hpp"
#include "os.hpp"
#include "pool_body.hpp"
#include "pool_life.hpp"

namespace lagoon::inline v1 {

const char* to_string(SlotStatus status) noexcept {
    switch (status) {
        case SlotStatus::empty: return "empty";
        case SlotStatus::creating: return "creating";
        case SlotStatus::idle: return "idle";
        case SlotStatus::leased: return "leased";
        case SlotStatus::dirty: return "dirty";
        case SlotStatus::checking: return "checking";
        case SlotStatus::closing: return "closing";
        case SlotStatus::quarantined: return "quarantined";
        case SlotStatus::retired: return "retired";
    }
    return "unknown";
}

}  // namespace lagoon::inline v1

namespace lagoon::inline v1::detail {

namespace {

constexpr std::size_t holders_told = 8;

const char* cause_of(Outcome outcome) noexcept {
    switch (outcome) {
        case Outcome::ok: return "done";
        case Outcome::would_block: return "nothing is idle now; the same call may succeed later";
        case Outcome::timed_out: return "nothing could be had before the deadline or the limit";
        case Outcome::closed: return "the pool or its arena was closed and lends no more";
        case Outcome::cancelled: return "the caller's stop token ended the wait";
        case Outcome::at_capacity:
            return "every place is filled; give something back or discard it";
        case Outcome::too_many_waiters:
            return "as many threads wait as PoolOptions::max_waiters allows";
        case Outcome::not_attached: return "this process is not, or no longer, attached";
        case Outcome::given_back: return "the lease was given back, moved from or never held";
    }
    return "an outcome of another version";
}

struct Holder {
    std::uint64_t leases = 0;
    bool is_stopped = false;
};

std::string text_of(const std::map<std::uint32_t, Holder>& holders) {
    std::string text;
    std::size_t told = 0;
    for (const auto& [pid, holder] : holders) {
        if (told++ == holders_told) {
            return text + " and " + std::to_string(holders.size() - holders_told) + " more";
        }
        text += (text.empty() ? "; leased by process " : ", ") + std::to_string(pid) + " (" +
                std::to_string(holder.leases) + (holder.is_stopped ? ", stopped)" : ")");
    }
    return text;
}

/// Who holds what, by process.
std::string holders_of(const PoolObject& pool) {
    const Attachment* attachment = attachment_of(&pool);
    if (attachment == nullptr) return {};
    std::map<std::uint32_t, Holder> holders;
    const std::uint64_t here = os::pid_namespace();
    for (std::uint64_t index = 0; index < body_of(pool).capacity; ++index) {
        const auto [word, lent] = see_slot(pool, index);
        if (!lent) continue;
        const MemberEntry* member = member_behind(*attachment, word::owner(word));
        if (member == nullptr) continue;
        Holder& holder = holders[member->pid];
        if (holder.leases++ == 0) {
            // Elsewhere the number means another process.
            holder.is_stopped = member->pid_namespace == here && os::is_stopped(member->pid);
        }
    }
    return text_of(holders);
}

/// Whose leases are out for too long.
std::string overdue_text(const PoolObject& pool) {
    const std::vector<OverdueLease> leases = pool_overdue(pool);
    if (leases.empty()) return {};
    const std::chrono::nanoseconds limit{body_of(pool).life.lease_limit_ns};
    std::string text = "; past the lease_limit of " +
                       std::to_string(std::chrono::ceil<std::chrono::milliseconds>(limit).count()) +
                       " ms: ";
    for (std::size_t i = 0; i < std::min(leases.size(), holders_told); ++i) {
        text += std::string{i == 0 ? "" : ", "} + "process " + std::to_string(leases[i].owner_pid) +
                " for " + std::to_string(leases[i].held_for.count()) + " ms";
    }
    if (leases.size() <= holders_told) return text;
    return text + " and " + std::to_string(leases.size() - holders_told) + " more";
}

}  // namespace

std::string pool_explain(const PoolObject& pool, Outcome outcome) {
    const PoolStats stats = pool_stats(pool);
    std::string text = name_of_pool(pool) + ": " + to_string(outcome) + ": " + cause_of(outcome) +
                       "; capacity " + std::to_string(stats.capacity);
    const auto add = [&](const char* before, std::uint64_t number, const char* what) {
        text += before + std::to_string(number) + ' ' + what;
    };
    add(": ", stats.leased, "leased");
    add(", ", stats.idle, "idle");
    add(", ", stats.creating, "being created");
    add(", ", stats.dirty + stats.maintained, "dirty, checked or closed");
    add(", ", stats.quarantined, "quarantined");
    add(", ", stats.empty, "empty");
    add("; ", stats.waiting, "waiting");
    if (const CreationPolicy& policy = body_of(pool).creation; policy.at_once != 0) {
        add("; at most ", policy.at_once, "created at one time");
    }
    if (stats.retry_in.count() != 0) {
        const auto ms = std::chrono::ceil<std::chrono::milliseconds>(stats.retry_in).count();
        add("; creating failed ", read(body_of(pool).making.failures), "times in a row");
        add(" and is tried again in ", static_cast<std::uint64_t>(ms), "ms");
    }
    return text + holders_of(pool) + overdue_text(pool);
}

}  // namespace lagoon::inline v1::detail
