// reap.cpp: from a proved death to words that name nobody dead.
//
// Order: the words, then the wake-ups, then the lanes, then the member entry. A reaper killed
// anywhere leaves a member that is still dead, and whoever comes next does all of it again.
#include "reap.hpp"

#include <lagoon/error.hpp>

#include "keeper.hpp"
#include "members.hpp"

namespace lagoon::inline v1::detail {

DeadLanes::DeadLanes(const Attachment& attachment, std::uint32_t member, std::uint64_t member_state)
    : attachment_{attachment}, member_{member}, member_state_{member_state} {
    const ArenaHeader& header = *attachment.header;
    states_.resize(header.max_lanes);
    set_.set(member);
    for (std::uint32_t lane = header.max_members; lane < header.max_lanes; ++lane) {
        // R2 acquire load <- R3, N1: lanes of a living incarnation name another member. kept: the
        // proof of the death has brought along what it did; R4 below decides.
        const std::uint64_t state =
            attachment.lane_entry(lane).state.load(std::memory_order_acquire);
        if (is_live(state) && member_of_lane(state) == member) {
            set_.set(lane);
            states_[lane] = state;
        }
    }
    // Lanes are freed before their member's entry: if the entry still says what it said when the
    // death was proved, none of these lanes can be a later incarnation's.
    // R4 acquire load <- R1, B3. kept: a later incarnation's lane is told by the word that names
    // it, see names().
    if (attachment.member_entry(member).state.load(std::memory_order_acquire) != member_state) {
        set_.reset();
    }
}

bool DeadLanes::names(std::uint32_t lane) const noexcept {
    if (nobodys_) return !lane_lives(attachment_, lane);
    if (!set_.test(lane)) return false;
    if (lane == member_) {
        // R4 acquire load <- R1, B3: still the dead incarnation?. kept: the acquire load of the
        // word that names the lane, before this one, brings along what has to be seen here.
        return attachment_.member_entry(member_).state.load(std::memory_order_acquire) ==
               member_state_;
    }
    // R2 acquire load <- R3, N1. kept: as R4 above.
    return attachment_.lane_entry(lane).state.load(std::memory_order_acquire) == states_[lane];
}

void DeadLanes::free_lanes() const noexcept {
    for (std::uint32_t lane = attachment_.header->max_members; lane < states_.size(); ++lane) {
        std::uint64_t state = states_[lane];
        if (!set_.test(lane)) continue;
        // R3 acq_rel RMW -> R2, N1: whoever claims the lane next sees what was repaired. kept: its
        // order, for the repair went by compare-and-swaps of its own.
        attachment_.lane_entry(lane).state.compare_exchange_strong(
            state, state & ~live_bit, std::memory_order_acq_rel, std::memory_order_relaxed);
    }
}

namespace {

/// Every word that names one of the lanes. Whoever shuts the arena down may have died before it
/// closed the pools.
void repair_words(Attachment& attachment, const DeadLanes& dead, Reaped& done) noexcept {
    const bool over = is_shut_down(*attachment.header);
    attachment.for_each(Kind::pool, [&](const DirectoryEntry&, std::byte* object) {
        auto& pool = *reinterpret_cast<PoolObject*>(object);
        if (over) mark_closed(pool);
        repair_pool(pool, dead, done);
    });
    attachment.for_each(Kind::lock, [&](const DirectoryEntry&, std::byte* object) {
        if (repair_lock(*reinterpret_cast<Atomic<std::uint64_t>*>(object), dead)) ++done.locks;
    });
    attachment.for_each(Kind::value, [&](const DirectoryEntry& entry, std::byte* object) {
        if (is_wide_value(entry.element_bytes) &&
            repair_value(*reinterpret_cast<ValueCore*>(object), dead)) {
            ++done.locks;
        }
    });
}

/// For whoever the dead could have owed a wake-up.
void wake_all(Attachment& attachment) noexcept {
    attachment.for_each(Kind::pool, [](const DirectoryEntry&, std::byte* object) {
        wake_pool(*reinterpret_cast<PoolObject*>(object));
    });
    attachment.for_each(Kind::lock, [](const DirectoryEntry&, std::byte* object) {
        wake_lock(*reinterpret_cast<Atomic<std::uint64_t>*>(object));
    });
    attachment.for_each(Kind::value, [](const DirectoryEntry&, std::byte* object) {
        wake(reinterpret_cast<ValueCore*>(object)->event, everybody);
    });
}

Reaped repair_member(Attachment& attachment, std::uint32_t index, std::uint64_t state) {
    Reaped done;
    const DeadLanes dead{attachment, index, state};
    repair_words(attachment, dead, done);
    wake_all(attachment);
    dead.free_lanes();
    // R1 acq_rel RMW -> B1, R4: only now can the entry be claimed again. kept: its order, for a
    // claimant takes the byte's lock from a holder that is dead, and the words repaired are ordered
    // by their own swaps.
    if (attachment.member_entry(index).state.compare_exchange_strong(
            state, state & ~live_bit, std::memory_order_acq_rel, std::memory_order_relaxed)) {
        ++done.processes;
        // R5 relaxed RMW, no pair: a statistic. kept: torn, it loses a count and nothing else.
        attachment.header->deaths.fetch_add(1, std::memory_order_relaxed);
    }
    wake(attachment.header->event, everybody);
    return done;
}

Reaped repair_if_dead(Attachment& attachment, std::uint32_t index) noexcept {
    try {
        std::uint64_t state = 0;
        if (member_life(attachment, index, &state) != MemberLife::dead) return {};
        return repair_member(attachment, index, state);
    } catch (...) {
        return {};  // no memory for the lane set: the next one repairs it
    }
}

}  // namespace

void repair_own(Attachment& attachment) noexcept {
    try {
        // B7 acquire load <- B6. kept: changed under the process lock only.
        const DeadLanes own{attachment, attachment.member,
                            attachment.member_state.load(std::memory_order_acquire)};
        Reaped done;
        repair_words(attachment, own, done);
        wake_all(attachment);
    } catch (...) {
        contract_failure("no memory to leave arena '%s'", attachment.name.c_str());
    }
}

Reaped repair_the_dead(Attachment& attachment) noexcept {
    Reaped done;
    for (std::uint32_t i = 0; i < attachment.header->max_members; ++i) {
        done += repair_if_dead(attachment, i);
    }
    return done;
}

Reaped repair_nobodys(Attachment& attachment) noexcept {
    Reaped done;
    repair_words(attachment, DeadLanes{attachment}, done);
    if (done != Reaped{}) wake_all(attachment);
    return done;
}

Reaped repair_the_marked(Attachment& attachment, bool* dying) noexcept {
    Reaped done;
    *dying = false;
    for (std::uint32_t i = 0; i < attachment.header->max_members; ++i) {
        MemberEntry& entry = attachment.member_entry(i);
        // R6 acquire load, no pair: the kernel writes the mark; it is a hint to look. kept: the
        // proof that follows brings along what the dead did.
        if ((entry.death_word.load(std::memory_order_acquire) & death_mark) == 0) continue;
        if (i == attachment.member) continue;  // we live, whatever wrote that
        // R4 acquire load <- R1, B3. kept: as R6.
        const std::uint64_t before = entry.state.load(std::memory_order_acquire);
        if (!is_live(before)) continue;
        done += repair_if_dead(attachment, i);
        // R4 acquire load <- R1, B3. kept: only compared.
        if (entry.state.load(std::memory_order_acquire) == before) *dying = true;
    }
    return done;
}

}  // namespace lagoon::inline v1::detail
