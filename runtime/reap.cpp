// reap.cpp: from a proved death to words that name nobody dead.
//
// Order: the words, then the wake-ups, then the lanes, then the member entry. A reaper killed
// anywhere leaves a member that is still dead, and whoever comes next does all of it again.
#include "reap.hpp"

#include "keeper.hpp"
#include "members.hpp"

namespace lagoon::inline v1::detail {

// Lanes are freed before their member's entry: if that still says, behind the look at a lane, what
// it said when the death was proved, the lane is no later incarnation's.
bool DeadLanes::is_unrepaired() const noexcept {
    // R4 acquire load <- R1, B3: still the dead incarnation? kept: only compared; what has to be
    // seen here is brought along by the load before it, of the lane's entry or of the word that
    // names it.
    return attachment_.member_entry(member_).state.load(std::memory_order_acquire) == member_state_;
}

bool DeadLanes::names(std::uint32_t lane) const noexcept {
    if (nobodys_) return !lane_lives(attachment_, lane);
    return member_behind(attachment_, lane) == &attachment_.member_entry(member_) &&
           is_unrepaired();
}

void DeadLanes::free_lanes() const noexcept {
    const ArenaHeader& header = *attachment_.header;
    for (std::uint32_t lane = header.max_members; lane < header.max_lanes; ++lane) {
        Atomic<std::uint64_t>& entry = attachment_.lane_entry(lane).state;
        // R2 acquire load <- R3, N1: the lane of a later incarnation brings along that one's entry,
        // which R4 looks at.
        std::uint64_t state = entry.load(std::memory_order_acquire);
        if (!is_live(state) || member_of_lane(state) != member_ || !is_unrepaired()) continue;
        // R3 acq_rel RMW -> R2, N1: whoever claims the lane next sees what was repaired. kept: its
        // order, for the repair went by compare-and-swaps of its own.
        entry.compare_exchange_strong(state, state & ~live_bit, std::memory_order_acq_rel,
                                      std::memory_order_relaxed);
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

Reaped repair_member(Attachment& attachment, std::uint32_t index, std::uint64_t state) noexcept {
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
    std::uint64_t state = 0;
    if (member_life(attachment, index, &state) != MemberLife::dead) return {};
    return repair_member(attachment, index, state);
}

}  // namespace

void repair_own(Attachment& attachment) noexcept {
    // B7 acquire load <- B6. kept: changed under the process lock only.
    const DeadLanes own{attachment, attachment.member,
                        attachment.member_state.load(std::memory_order_acquire)};
    Reaped done;
    repair_words(attachment, own, done);
    wake_all(attachment);
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
