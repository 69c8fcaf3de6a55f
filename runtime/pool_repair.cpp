// pool_repair.cpp: what is made of a dead one's slots.
//
//   killed                              leaves                        becomes
//   borrower, after HELD                HELD(dead)                    FREE, QUARANTINED, or
//                                                                     DIRTY(borrower_died)
//   the same, marked broken             HELD(dead, must destroy)      DIRTY(must_destroy)
//   in check or reset                   CHECKING(dead)                the same as after HELD
//   builder                             BUILDING(dead)                DIRTY(must_destroy)
//   in destroy                          CLOSING(dead)                 DIRTY(must_destroy), or
//                                                                     QUARANTINED
//   behind destroy, once it says so     CLOSING(dead, ended)          DIRTY(ended)
//   repairer, after counting a death    the count, marked with the    counted once
//                                       word's generation
//   repairer, after DIRTY, no hint      DIRTY at rest                 hint by the next repairer
//   closer, or releaser then            FREE in a closed pool         DIRTY(must_destroy)
//
// Runs no hook and takes no lock: the caller may hold the process lock, and be no member yet.
// Needs no heavy fence: the kernel's answer that the dead one's lock is gone comes behind all that
// it has stored, plainly or not. A living one's store that is still on its way leaves a word here
// that names the living, which no repair touches, or one of before, from which no swap succeeds;
// and bits are only set here, never cleared.
#include "pool_creation.hpp"
#include "pool_queue.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

/// Counts the death of this slot's owner once, though many may repair it; of a builder, begins the
/// filling that it may not have begun.
void count_death(PoolBody& body, std::uint64_t index, std::uint64_t held) noexcept {
    const bool built = word::state(held) == SlotState::building;
    Atomic<std::uint64_t>& counted = slot_of(body, index).meta;
    // O13 acquire load <- O8, O14: behind a new filling's number the word is no older.
    std::uint64_t before = counted.load(std::memory_order_acquire);
    for (;;) {
        // Still the same lease? Then nobody can have begun a new filling since `before`.
        if (truth_of(body, index) != held) return;
        const std::uint64_t after =
            built ? meta::begin_fill(before, held) : meta::count_death(before, held);
        if (after == before) return;
        // O14 acq_rel RMW -> O13: repeats only when another one counted or filled. kept: relaxed
        // would do: who goes on with the slot has what was counted from the slot's own word, and
        // its acquire has been done by O13.
        if (counted.compare_exchange_strong(before, after, std::memory_order_acq_rel,
                                            std::memory_order_acquire)) {
            return;
        }
    }
}

void repair_slot(PoolObject& pool, std::uint64_t index, std::uint64_t word, const DeadLanes& dead,
                 Reaped& done) noexcept {
    PoolBody& body = body_of(pool);
    const SlotState state = word::state(word);
    if (!word::is_ended(word)) count_death(body, index, word);
    // After the word was loaded, or a lane's new owner would be robbed.
    if (!dead.names(word::owner(word))) return;
    const bool lendable = state == SlotState::held || state == SlotState::checking;
    DirtyReason why = lendable ? DirtyReason::borrower_died : DirtyReason::must_destroy;
    if (word::is_broken(word)) why = DirtyReason::must_destroy;
    if (word::is_ended(word)) why = DirtyReason::ended;
    const std::uint64_t dirty = word::next_dirty(word, why);
    // What needs no code at all is not DIRTY in between.
    const Need need = need_of(body, index, dirty);
    std::uint64_t to = dirty;
    if (need == Need::nothing) to = word::next(word, SlotState::free) | word::recovered_bit;
    if (need == Need::quarantine) {
        to = word::next(word, SlotState::quarantined) | word::recovered_bit;
    }
    if (!move_truth(body, index, word, to)) return;
    if (state == SlotState::building) note_failed(body);
    if (state == SlotState::held) {
        ++done.leases;
        count(body.recovered);
    } else {
        ++done.builds;
    }
    switch (need) {
        case Need::nothing: announce_free(pool, index, Closed::leave_dirty); break;
        case Need::quarantine:
            count(body.quarantines);
            wake_for_place(pool);
            break;
        default: hints_of(body, Hint::dirty).set(index);
    }
}

/// What a dead one may have owed: a hint, and in a closed pool the end of an idle resource.
void restore_hint(PoolObject& pool, std::uint64_t index) noexcept {
    PoolBody& body = body_of(pool);
    const auto owe = [&](Hint which) { hints_of(body, which).restore(index); };
    switch (word::state(truth_of(body, index))) {
        case SlotState::biased:
        case SlotState::revoking: owe(Hint::free); break;
        case SlotState::free:
            owe(Hint::free);
            if (is_closed(body)) announce_free(pool, index, Closed::leave_dirty);
            break;
        case SlotState::dirty: owe(Hint::dirty); break;
        case SlotState::empty:
            if (index < read(body.virgin)) owe(Hint::empty);
            break;
        default: break;
    }
}

}  // namespace

void repair_pool(PoolObject& pool, const DeadLanes& dead, Reaped& done) noexcept {
    PoolBody& body = body_of(pool);
    if (is_closed(body)) call_attention(pool);  // the closer may have died before that
    repair_queue(pool, dead);
    for (std::uint64_t index = 0; index < body.capacity; ++index) {
        repair_kept(pool, index, dead);
        const std::uint64_t word = truth_of(body, index);
        if (word::names_owner(word) && dead.names(word::owner(word))) {
            repair_slot(pool, index, word, dead, done);
        }
        restore_hint(pool, index);
    }
    // J4 acquire load <- J1. kept: were a new owner of the lane taken for the dead one, two could
    // gather at once, which still give back what is too little.
    std::uint64_t gatherer = body.bulk.load(std::memory_order_acquire);
    if (gatherer != 0 && gatherer_lane(gatherer) < lane_limit &&
        dead.names(gatherer_lane(gatherer))) {
        // J3 seq_cst RMW, no pair: ordered with D3. kept: its order, for the next gatherer is woken
        // and marks again.
        body.demand.fetch_and(~demand_bulk, std::memory_order_seq_cst);
        // J1 seq_cst RMW -> J2, J4: nobody gathers now. kept: as J4.
        body.bulk.compare_exchange_strong(gatherer, 0, std::memory_order_seq_cst,
                                          std::memory_order_relaxed);
        // J4 acquire load <- J1, J2: one who has the right by now may have lost its mark to us.
        // kept: as D1 behind it.
        if (body.bulk.load(std::memory_order_acquire) != 0) {
            // D1 seq_cst RMW, no pair: as in Gatherer::demand_all. kept: without it a release
            // wakes one instead of all, which takes five participants to be seen.
            body.demand.fetch_or(demand_bulk, std::memory_order_seq_cst);
        }
    }
}

}  // namespace lagoon::inline v1::detail
