// pool_life.cpp: resources that are ended for their age or their use, and checked before they are
// lent.
//
// Whoever owns a slot writes its record, before the word that hands the slot on. Whoever meets an
// idle slot reads the record behind that word, and acts by a swap from that very word: were the
// record another filling's or another lease's, the swap would fail.
//
//   killed                                leaves
//   builder or giver, in the record       BUILDING or HELD(dead): as without a record
//   giver, behind the record              HELD(dead): a use that was noted, by a lease that died
//   whoever ends it, before the swap      FREE or HELD(dead), as it was
//   the same, behind it                   DIRTY(must_destroy), its bit set by the repair; or
//                                         CLOSING(dead), where no process has a destroy
//   borrower, in its check                CHECKING(dead): as after HELD
//   the same, behind a failed check       DIRTY(must_destroy), as above
//   who has the duty                      its name in a word: the next one takes it from a dead
//
//   Edges      U4 -> U3: the next one who counts the filled slots sees what this one has ended
#include "pool_life.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "pool_clock.hpp"
#include "pool_times.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

bool is_due(const LifeRecord& record, std::uint64_t now) noexcept {
    const std::uint64_t due = noted(record.due_ns);
    return due != 0 && now >= due;
}
std::uint64_t idle_ns(const LifeRecord& record, std::uint64_t now) noexcept {
    const std::uint64_t since = noted(record.returned_ns);
    return now > since ? now - since : 0;
}
bool is_idle_too_long(const PoolBody& body, const LifeRecord& record, std::uint64_t now) noexcept {
    const std::uint64_t limit = body.life.idle_timeout_ns;
    return limit != 0 && idle_ns(record, now) >= limit;
}
bool wants_check(const PoolCache& cache, const LifeRecord& record, std::uint64_t now) noexcept {
    const LifePolicy& life = cache.body->life;
    return life.validates != 0 && cache.own->hooks.check &&
           idle_ns(record, now) >= life.validate_after_ns;
}

/// From 0 to below 1, of one filling: the same wherever it is asked.
double share_of(const PoolObject& pool, std::uint64_t index) noexcept {
    std::uint64_t x = attachment_of(&pool)->header->id[0] ^ (index << 32) ^ pool_fill(pool, index);
    for (const std::uint64_t odd : {0x9e3779b97f4a7c15U, 0xd1342543de82ef95U}) {
        x = (x ^ x >> 31) * odd;
    }
    return static_cast<double>(x >> 32) / 4294967296.0;
}

std::uint64_t due_of(const PoolObject& pool, std::uint64_t index, std::uint64_t now) noexcept {
    const LifePolicy& life = body_of(pool).life;
    if (life.max_lifetime_ns == 0) return 0;
    const double early = static_cast<double>(life.max_lifetime_ns) *
                         (static_cast<double>(life.jitter_ppb) / 1e9) * share_of(pool, index);
    const auto ns = static_cast<std::uint64_t>(early);
    return now + (life.max_lifetime_ns - std::min(ns, life.max_lifetime_ns));
}

/// The resource of this slot is not lent again. `leave(to)` swaps its word to what `to(word)` says
/// and returns that, or 0: DIRTY, for who runs destroy; or by CLOSING to EMPTY, where nobody has
/// one.
template <class Leave>
bool end_slot(PoolObject& pool, const PoolCache& cache, std::uint64_t index,
              Atomic<std::uint64_t>& statistic, Leave&& leave) noexcept {
    PoolBody& body = body_of(pool);
    // O11 acquire load <- O12. kept: as in hook_bits.
    const bool wanted = (body.hooks.load(std::memory_order_acquire) & hook_destroy) != 0;
    const std::uint64_t left = leave([&](std::uint64_t w) {
        return wanted ? word::next_dirty(w, DirtyReason::must_destroy)
                      : word::next(w, SlotState::closing, cache.lane);
    });
    if (left == 0) return false;
    count(statistic);
    if (wanted) {
        hints_of(body, Hint::dirty).set(index);
        wake_for_place(pool);
    } else {
        count(body.destroyed);
        make_empty(pool, index, left);
    }
    return true;
}

bool end_free(PoolObject& pool, const PoolCache& cache, std::uint64_t index, std::uint64_t free,
              Atomic<std::uint64_t>& statistic) noexcept {
    return end_slot(pool, cache, index, statistic, [&](const auto& to) {
        std::uint64_t word = free;
        const std::uint64_t next = to(word);
        return move_truth(body_of(pool), index, word, next) ? next : 0;
    });
}

/// A use of the resource is over; why it was the last one, or null.
Atomic<std::uint64_t>* note_use(PoolBody& body, std::uint64_t index) noexcept {
    LifeRecord& record = record_of(body, index);
    const LifePolicy& life = body.life;
    const std::uint64_t now = clock_ns();
    const std::uint32_t uses = noted(record.uses) + 1;
    note(record.uses, uses);
    note(record.returned_ns, now);
    count_time(body, Timed::held, index, now);
    if (is_due(record, now)) return &body.ended_by_lifetime;
    if (life.max_uses != 0 && uses >= life.max_uses) return &body.ended_by_uses;
    if (life.max_failures != 0 && noted(record.failures) >= life.max_failures) {
        return &body.ended_by_failures;
    }
    return nullptr;
}

constexpr std::uint64_t never_ns = std::uint64_t{1} << 63;

/// A piece of the pool in an eighth of the shortest time that a resource may have.
std::uint64_t tend_every_ns(const PoolBody& body) noexcept {
    std::uint64_t shortest = never_ns;
    for (const std::uint64_t limit : {body.life.max_lifetime_ns, body.life.idle_timeout_ns}) {
        if (limit != 0) shortest = std::min(shortest, limit / 8);
    }
    return shortest;
}

std::uint64_t count_filled(PoolBody& body) noexcept {
    std::uint64_t filled = 0;
    for (std::uint64_t index = 0; index < body.capacity; ++index) {
        const SlotState state = word::state(truth_of(body, index));
        filled +=
            state == SlotState::free || state == SlotState::held || state == SlotState::checking
                ? 1
                : 0;
    }
    return filled;
}

/// The right to end what is idle too long: one at a time has it, so that no two count the filled
/// slots and go below the least together. It runs no hook and waits for nobody.
class Duty {
public:
    Duty(PoolBody& body, const LaneView& lane) noexcept
        : body_{body}, mine_{gatherer_token(*lane.attachment, lane.lane)} {
        std::uint64_t other = 0;
        held_ = take(other);
        if (held_) return;
        held_ = !gatherer_lives(*lane.attachment, other) && take(other);
    }
    ~Duty() {
        std::uint64_t mine = mine_;
        if (!held_) return;
        // U4 release RMW -> U3: unless somebody took us for dead. kept: with an older count the
        // next one could end one too many, which no scene comes to; and torn it would do, for
        // nobody changes the word while we live.
        body_.duty.compare_exchange_strong(mine, 0, std::memory_order_release,
                                           std::memory_order_relaxed);
    }
    Duty(const Duty&) = delete;
    Duty& operator=(const Duty&) = delete;
    [[nodiscard]] bool held() const noexcept { return held_; }

private:
    bool take(std::uint64_t& from) noexcept {
        // U3 acquire RMW <- U4: also where it fails, for whose lane it is. kept: an older look at a
        // lane that was claimed anew would let two have the duty, who could end one too many.
        return body_.duty.compare_exchange_strong(from, mine_, std::memory_order_acquire,
                                                  std::memory_order_acquire);
    }

    PoolBody& body_;
    std::uint64_t mine_;
    bool held_ = false;
};

}  // namespace

void begin_life(PoolObject& pool, std::uint64_t index) noexcept {
    PoolBody& body = body_of(pool);
    if (!has_life(body)) return;
    LifeRecord& record = record_of(body, index);
    const std::uint64_t now = clock_ns();
    note(record.due_ns, due_of(pool, index, now));
    note(record.returned_ns, now);
    note(record.since, std::uint64_t{0});
    note(record.uses, std::uint32_t{0});
    note(record.failures, std::uint32_t{0});
}

void note_idle(PoolBody& body, std::uint64_t index) noexcept {
    if (has_life(body)) note(record_of(body, index).returned_ns, clock_ns());
}

bool is_past_lifetime(PoolBody& body, std::uint64_t index, std::uint64_t now) noexcept {
    return has_life(body) && is_due(record_of(body, index), now);
}

bool may_lend(PoolCache& cache, std::uint64_t index, std::uint64_t free,
              std::uint64_t now) noexcept {
    PoolBody& body = *cache.body;
    const LifeRecord& record = record_of(body, index);
    if (is_due(record, now)) {
        auto& pool = const_cast<PoolObject&>(*cache.pool());
        (void)end_free(pool, cache, index, free, body.ended_by_lifetime);
        return false;
    }
    return cache.validates || !wants_check(cache, record, now);
}

Taken take_oldest(PoolBody& body, PoolCache& cache) noexcept {
    // Repeats when another one has taken the oldest.
    for (;;) {
        Taken oldest = not_taken(Outcome::would_block);
        std::uint64_t since = 0;
        const std::uint64_t now = clock_ns();
        for (std::uint64_t index = 0; index < body.capacity; ++index) {
            const std::uint64_t word = truth_of(body, index);
            if (word::state(word) != SlotState::free || !may_lend(cache, index, word, now)) {
                continue;
            }
            const std::uint64_t returned = noted(record_of(body, index).returned_ns);
            if (oldest.word != 0 && returned >= since) continue;
            oldest = {word, index};
            since = returned;
        }
        if (oldest.word == 0) return oldest;
        const std::uint64_t mine = word::next(oldest.word, SlotState::held, cache.lane);
        if (!move_truth(body, oldest.index, oldest.word, mine)) continue;
        note_lent(body, oldest.index, mine, now);
        count_acquired(cache);
        return {mine, oldest.index};
    }
}

Taken checked(PoolObject& pool, PoolCache& cache, Taken taken) noexcept {
    PoolBody& body = body_of(pool);
    const std::uint64_t index = taken.index;
    // A hook that borrows here would go one deeper for each resource.
    if (cache.settling || !wants_check(cache, record_of(body, index), clock_ns())) return taken;
    std::uint64_t mine = word::next(taken.word, SlotState::checking, cache.lane);
    if (!move_truth(body, index, taken.word, mine)) {
        count(body.damaged);
        return not_taken(Outcome::would_block);
    }
    cache.settling = true;
    const bool good = passes(cache.own->hooks.check, body, index, body.creation.check_limit_ns);
    cache.settling = false;
    const std::uint64_t next =
        good ? word::next(mine, SlotState::held, cache.lane) & ~word::recovered_bit
             : word::next_dirty(mine, DirtyReason::must_destroy);
    if (!move_truth(body, index, mine, next)) {
        count(body.damaged);
        return not_taken(Outcome::would_block);
    }
    if (good) {
        note_lent(body, index, next, clock_ns());
        return {next, index};
    }
    // At rest first, so that a death between here and destroy is one that destroy knows of.
    count(body.ended_by_check);
    if (!empty_slot(pool, index, next)) {
        hints_of(body, Hint::dirty).set(index);
        wake_for_place(pool);
    }
    return not_taken(Outcome::would_block);
}

bool end_if_over(PoolObject& pool, const PoolCache& cache, Taken taken) noexcept {
    PoolBody& body = body_of(pool);
    Atomic<std::uint64_t>* why = has_life(body) ? note_use(body, taken.index) : nullptr;
    if (word::is_broken(taken.word)) why = &body.ended_by_failures;
    // What comes back to a closed pool is ended in any case.
    if (why == nullptr || is_closed(body)) return false;
    (void)end_slot(pool, cache, taken.index, *why,
                   [&](const auto& to) { return leave_held(pool, taken, to); });
    const std::uint64_t left = truth_of(body, taken.index);
    if (is_closed(body) && word::state(left) == SlotState::dirty) {
        (void)empty_slot(pool, taken.index, left);  // closed meanwhile, and passed by
    }
    return true;
}

bool end_idle(PoolObject& pool, std::uint64_t slots) noexcept {
    PoolBody& body = body_of(pool);
    if (!has_life(body) || is_closed(body)) return false;
    PoolCache& cache = cache_of(pool);
    const Duty duty{body, lane_of(&pool)};
    if (!duty.held()) return false;
    bool any = false;
    std::optional<std::uint64_t> filled;
    const auto may_end = [&] {
        if (body.life.min_size == 0) return true;
        if (!filled) filled = count_filled(body);
        return *filled > body.life.min_size;
    };
    std::uint64_t index = read(body.duty_at);
    const std::uint64_t now = clock_ns();
    for (std::uint64_t left = std::min(slots, body.capacity); left != 0; --left, ++index) {
        if (index >= body.capacity) index = 0;
        const std::uint64_t word = truth_of(body, index);
        if (word::state(word) != SlotState::free) continue;
        const LifeRecord& record = record_of(body, index);
        bool ended = false;
        if (is_due(record, now)) {
            ended = end_free(pool, cache, index, word, body.ended_by_lifetime);
        } else if (is_idle_too_long(body, record, now) && may_end()) {
            ended = end_free(pool, cache, index, word, body.ended_by_idle);
        }
        any = any || ended;
        if (ended && filled) --*filled;
    }
    // U5 relaxed store, no pair: a hint.
    body.duty_at.store(index, std::memory_order_relaxed);
    // U5 relaxed store, no pair: a hint.
    body.duty_due_ns.store(now + tend_every_ns(body), std::memory_order_relaxed);
    return any;
}

Phase tend(PoolObject& pool) noexcept {
    PoolBody& body = body_of(pool);
    if (tend_every_ns(body) != never_ns && clock_ns() >= read(body.duty_due_ns)) {
        (void)end_idle(pool, duty_slots);
    }
    tell_overdue(pool, Piece::next);
    if (hints_of(body, Hint::dirty).next_leaf(0) == no_index) return Phase::none;
    Reaped done;
    return settle_pool(pool, done, Effort::hints);
}

void reap_pool(PoolObject& pool, Reaped& done) noexcept {
    const std::uint64_t left = done.dirty_left;
    (void)settle_pool(pool, done, Effort::slots);
    tell_overdue(pool, Piece::all);
    if (!end_idle(pool, capacity_limit)) return;
    done.dirty_left = left;  // they are counted again
    (void)settle_pool(pool, done, Effort::slots);
}

std::uint64_t pool_mark_broken(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept {
    if (is_foreign(pool, epoch)) return taken.word;
    PoolCache& cache = cache_of(pool);
    const std::uint32_t lane = attachment_of(&pool)->member;
    const std::uint64_t marked =
        leave_held(pool, taken, [&](std::uint64_t w) { return word::broken(w, lane); });
    if (marked == 0) return taken.word;
    forget_lease(cache, taken);
    return marked;
}

void pool_report_failure(PoolObject& pool, Taken taken, std::uint64_t epoch) noexcept {
    PoolBody& body = body_of(pool);
    if (!has_life(body) || is_foreign(pool, epoch)) return;
    LifeRecord& record = record_of(body, taken.index);
    note(record.failures, noted(record.failures) + 1);
}

}  // namespace lagoon::inline v1::detail
