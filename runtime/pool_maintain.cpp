// pool_maintain.cpp: filling and emptying slots, and hooks.
//
//   killed                              leaves                        becomes (pool_repair.cpp)
//   after EMPTY to BUILDING             BUILDING(dead)                DIRTY(must_destroy)
//   in the factory, before HELD         BUILDING(dead), half a value  DIRTY(must_destroy)
//   in check or reset                   CHECKING(dead)                as after HELD
//   in destroy                          CLOSING(dead)                 DIRTY(must_destroy): again
//   behind it, once the word says so    CLOSING(dead, ended)          DIRTY(ended): zeroed
//
// The bit of a slot in the tree of what is empty or dirty is cleared by whoever owns the slot and
// by nobody else: a process that is stopped there hides no slot from the others. Whoever comes to
// rest in one of these states sets the bit behind its word.
#include <algorithm>
#include <new>
#include <utility>

#include <lagoon/error.hpp>

#include "pool_body.hpp"
#include "pool_clock.hpp"
#include "pool_creation.hpp"
#include "pool_life.hpp"
#include "pool_times.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

std::uint64_t hook_bits(const PoolBody& body) noexcept {
    // O11 acquire load <- O12. kept: carries nothing but itself; a slot that was lent by a process
    // with hooks brings their bits along.
    return body.hooks.load(std::memory_order_acquire);
}

}  // namespace

void make_empty(PoolObject& pool, std::uint64_t index, std::uint64_t owned) noexcept {
    PoolBody& body = body_of(pool);
    std::uint64_t ended = word::ended(owned);
    // Before the first byte goes, or after a death here destroy would be given half a value.
    if (owned != ended && !move_truth(body, index, owned, ended)) {
        count(body.damaged);
        return;
    }
    std::fill_n(value_of(body, index), body.value_bytes, std::byte{0});
    const std::uint64_t empty = word::next(ended, SlotState::empty) & ~word::recovered_bit;
    if (!move_truth(body, index, ended, empty)) {
        count(body.damaged);
        return;
    }
    hints_of(body, Hint::empty).set(index);
    wake_for_place(pool);
}

void count_missing(PoolObject& pool, std::uint64_t index, std::uint64_t dirty) noexcept {
    PoolPrivate& own = pool_private(*attachment_of(&pool), pool);
    const ProcessLock lock;
    try {
        if (std::exchange(own.left_dirty[index], dirty) == dirty) return;
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): counted once too often
    }
    count(body_of(pool).hooks_missing);
}

void close_slot(PoolObject& pool, std::uint64_t index, std::uint64_t closing) noexcept {
    PoolBody& body = body_of(pool);
    const ErasedHooks& hooks = pool_private(*attachment_of(&pool), pool).hooks;
    run_destroy(hooks, body, index);
    count(body.destroyed);
    make_empty(pool, index, closing);
}

bool empty_slot(PoolObject& pool, std::uint64_t index, std::uint64_t expected,
                Reaped* done) noexcept {
    PoolBody& body = body_of(pool);
    const PoolPrivate& own = pool_private(*attachment_of(&pool), pool);
    const bool ended = word::is_ended(expected);
    if (!ended && (hook_bits(body) & hook_destroy) != 0 && !own.hooks.destroy) {
        // Only a process with the hook may end this resource.
        if (word::state(expected) == SlotState::dirty &&
            word::reason(expected) != DirtyReason::borrower_died) {
            count_missing(pool, index, expected);
            return false;
        }
        const bool quarantined = word::state(expected) == SlotState::quarantined;
        const std::uint64_t dirty = word::next_dirty(
            expected, quarantined ? DirtyReason::cleared : DirtyReason::must_destroy);
        if (!move_truth(body, index, expected, dirty)) return false;
        count_missing(pool, index, dirty);
        hints_of(body, Hint::dirty).set(index);
        wake_for_place(pool);
        return false;
    }
    std::uint64_t closing = word::next(expected, SlotState::closing, cache_of(pool).lane);
    if (ended) closing = word::ended(closing);
    if (!move_truth(body, index, expected, closing)) return false;
    drop_hint(hints_of(body, Hint::dirty), index);
    if (ended) {
        make_empty(pool, index, closing);
        return true;
    }
    if (done != nullptr && own.hooks.destroy) ++done->hooks_run;
    close_slot(pool, index, closing);
    return true;
}

Taken pool_begin_build(PoolObject& pool) noexcept {
    Outcome why = Outcome::closed;
    const PoolCache* cache = cache_or(pool, &why);
    if (cache == nullptr) return not_taken(why);
    PoolBody& body = body_of(pool);
    if (has_life(body)) (void)tend(pool);
    return take_empty(body, cache->lane, effort_of(body));
}

namespace {

/// A slot that was filled and is not to be: its resource is destroyed, where that takes a hook.
void end_build(PoolObject& pool, const PoolCache& cache, const ErasedHooks& hooks,
               Taken building) noexcept {
    PoolBody& body = body_of(pool);
    count(body.create_failed);
    std::uint64_t word = building.word;
    if (hooks.destroy) {
        const std::uint64_t closing = word::next(word, SlotState::closing, cache.lane);
        if (move_truth(body, building.index, word, closing)) {
            end_turn(pool);  // destroy may take its time
            close_slot(pool, building.index, closing);
        }
    } else if ((hook_bits(body) & hook_destroy) != 0) {
        const std::uint64_t dirty = word::next_dirty(word, DirtyReason::must_destroy);
        if (!move_truth(body, building.index, word, dirty)) return;
        count_missing(pool, building.index, dirty);
        hints_of(body, Hint::dirty).set(building.index);
        wake_for_place(pool);
    } else {
        make_empty(pool, building.index, word);
    }
}

}  // namespace

Deadline pool_create_until(const PoolObject& pool) noexcept {
    return until_limit(body_of(pool).creation.create_limit_ns);
}

Taken pool_finish_build(PoolObject& pool, Taken building, Built how, Deadline until) {
    PoolBody& body = body_of(pool);
    const bool lend = how == Built::to_lend;
    const bool made = how != Built::by_add;  // what add() brings is not made by a factory
    PoolCache& cache = cache_of(pool);
    const ErasedHooks& hooks = pool_private(*attachment_of(&pool), pool).hooks;
    const std::uint64_t epoch = process_epoch();
    try {
        run_create(hooks, body, building.index, until);
    } catch (...) {
        if (!is_epoch_of_process(epoch)) throw;  // forked in the hook: the slot is the parent's
        if (made) note_failed(body);
        end_build(pool, cache, hooks, building);
        throw;
    }
    if (is_past(until)) {
        note_failed(body);
        end_build(pool, cache, hooks, building);
        return not_taken(Outcome::timed_out, Phase::creating);
    }
    if (made && is_measured(body)) count_time(body, Timed::made, building.index, clock_ns());
    begin_life(pool, building.index);
    std::uint64_t word = building.word;
    const std::uint64_t ready =
        lend ? word::next(word, SlotState::held, cache.lane) : word::next(word, SlotState::free);
    if (lend && has_life(body)) note_lent(body, building.index, ready, clock_ns());
    if (!move_truth(body, building.index, word, ready)) {
        count(body.damaged);
        throw_changed(pool, building.index);
    }
    count(body.created);
    if (made) note_made(pool);
    if (lend) {
        count_acquired(cache);
    } else {
        announce_free(pool, building.index);
    }
    return {ready, building.index};
}

void pool_fail_build(PoolObject& pool, Taken building) noexcept {
    count(body_of(pool).create_failed);
    note_failed(body_of(pool));
    make_empty(pool, building.index, building.word);
}

Need need_of(PoolBody& body, std::uint64_t index, std::uint64_t word) noexcept {
    const DirtyReason why = word::reason(word);
    if (why == DirtyReason::ended || why == DirtyReason::cleared) return Need::destroy;
    // O13 acquire load <- O14. kept: the slot's word, DIRTY, was stored behind the count.
    const std::uint64_t counted = slot_of(body, index).meta.load(std::memory_order_acquire);
    if (body.quarantine_after != 0 && meta::deaths(counted) >= body.quarantine_after) {
        return Need::quarantine;
    }
    if (why == DirtyReason::must_destroy) return Need::destroy;
    const std::uint64_t hooks = hook_bits(body);
    switch (static_cast<OnDeath>(body.on_death)) {
        case OnDeath::check_then_reuse:
            return (hooks & hook_check) != 0 ? Need::check : Need::nothing;
        case OnDeath::reset_then_reuse:
            return (hooks & hook_reset) != 0 ? Need::reset : Need::nothing;
        case OnDeath::destroy: return Need::destroy;
        case OnDeath::quarantine: return Need::quarantine;
        case OnDeath::reuse: break;
    }
    return Need::nothing;
}

namespace {

/// At rest to at rest: no code has to run. Its bit stays, for nobody owns the slot, and costs the
/// next one who has it a look.
bool move_on(PoolObject& pool, std::uint64_t index, std::uint64_t word, SlotState to) noexcept {
    PoolBody& body = body_of(pool);
    if (!move_truth(body, index, word, word::next(word, to))) return false;
    if (to == SlotState::free) {
        announce_free(pool, index);
    } else {
        count(body.quarantines);
        wake_for_place(pool);
    }
    return true;
}

/// What a DIRTY slot has to pass.
struct Trial {
    const std::function<bool(void*, Slot, Deadline)>& hook;
    std::uint64_t limit_ns;
    Phase phase;
};

/// Runs check or reset; a resource that does not pass is destroyed.
void run_check(PoolObject& pool, std::uint64_t index, std::uint64_t word, const Trial& trial,
               Reaped& done, Phase* failed) noexcept {
    PoolBody& body = body_of(pool);
    std::uint64_t mine = word::next(word, SlotState::checking, cache_of(pool).lane);
    if (!move_truth(body, index, word, mine)) return;
    drop_hint(hints_of(body, Hint::dirty), index);
    ++done.hooks_run;
    if (passes(trial.hook, body, index, trial.limit_ns)) {
        note_idle(body, index);
        const std::uint64_t good = word::next(mine, SlotState::free) & ~word::recovered_bit;
        if (move_truth(body, index, mine, good)) announce_free(pool, index);
        return;
    }
    *failed = trial.phase;
    // At rest first, so that a death between here and destroy is one that destroy knows of.
    const std::uint64_t bad = word::next_dirty(mine, DirtyReason::must_destroy);
    if (!move_truth(body, index, mine, bad)) return;
    if (empty_slot(pool, index, bad, &done)) return;
    hints_of(body, Hint::dirty).set(index);
    wake_for_place(pool);  // whoever has a destroy
}

/// One DIRTY slot, as far as this process's hooks allow. False when it stays DIRTY.
bool settle_slot(PoolObject& pool, std::uint64_t index, std::uint64_t word, Reaped& done,
                 Phase* failed) noexcept {
    PoolBody& body = body_of(pool);
    const PoolPrivate& own = pool_private(*attachment_of(&pool), pool);
    const Need need = need_of(body, index, word);
    switch (need) {
        case Need::nothing: return move_on(pool, index, word, SlotState::free);
        case Need::quarantine: return move_on(pool, index, word, SlotState::quarantined);
        case Need::destroy: return empty_slot(pool, index, word, &done);
        case Need::check:
        case Need::reset: {
            const CreationPolicy& limits = body.creation;
            const Trial trial =
                need == Need::check
                    ? Trial{own.hooks.check, limits.check_limit_ns, Phase::checking}
                    : Trial{own.hooks.reset, limits.reset_limit_ns, Phase::resetting};
            if (trial.hook) {
                run_check(pool, index, word, trial, done, failed);
                return true;
            }
            count_missing(pool, index, word);
            break;
        }
    }
    return false;
}

/// Calls `look(index, word)` for what is DIRTY, while it says so.
template <class Look>
void each_dirty(PoolBody& body, Effort effort, Look&& look) {
    const auto go_on = [&](std::uint64_t index) {
        const std::uint64_t word = truth_of(body, index);
        return word::state(word) != SlotState::dirty || look(index, word);
    };
    if (effort == Effort::slots) {
        for (std::uint64_t index = 0; index < body.capacity && go_on(index); ++index) {
        }
        return;
    }
    HintTree hints = hints_of(body, Hint::dirty);
    const auto next_leaf = [&](std::uint64_t first) {
        return effort == Effort::leaves ? hints.next_leaf_surely(first) : hints.next_leaf(first);
    };
    for (std::uint64_t leaf = next_leaf(0); leaf != no_index; leaf = next_leaf(leaf + 1)) {
        for (std::uint64_t bits = hints.leaf(leaf); bits != 0; bits &= bits - 1) {
            const std::uint64_t index =
                leaf * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
            if (index >= body.capacity) break;
            if (!go_on(index)) return;
        }
    }
}

}  // namespace

Phase settle_pool(PoolObject& pool, Reaped& done, Effort effort) noexcept {
    Phase failed = Phase::none;
    // A hook that comes here again would go one deeper for each DIRTY slot.
    bool& settling = cache_of(pool).settling;
    if (std::exchange(settling, true)) return failed;
    each_dirty(body_of(pool), effort, [&](std::uint64_t index, std::uint64_t word) {
        if (!settle_slot(pool, index, word, done, &failed)) ++done.dirty_left;
        return true;
    });
    settling = false;
    return failed;
}

bool can_settle(PoolObject& pool, Effort effort) noexcept {
    PoolBody& body = body_of(pool);
    if (cache_of(pool).settling) return false;
    const ErasedHooks& own = pool_private(*attachment_of(&pool), pool).hooks;
    bool can = false;
    each_dirty(body, effort, [&](std::uint64_t index, std::uint64_t word) {
        switch (need_of(body, index, word)) {
            case Need::check: can = own.check != nullptr; break;
            case Need::reset: can = own.reset != nullptr; break;
            case Need::destroy:
                can = word::is_ended(word) || own.destroy != nullptr ||
                      (hook_bits(body) & hook_destroy) == 0;
                break;
            default: can = true;
        }
        return !can;
    });
    return can;
}

}  // namespace lagoon::inline v1::detail
