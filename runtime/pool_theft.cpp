// pool_theft.cpp: taking idle slots from the threads that keep them, from those that end, and from
// the dead.
//
// A thief asks (BIASED to REVOKING in its name), runs the heavy fence, and reads the claim word: an
// odd one was there before the question and its asker goes away; where it is even the keeper's next
// look at the slot meets the question, and one of the two swaps the word. Who meets another
// thief's question waits for one fence before it puts its own name there: so one that is stopped
// holds nobody up. One that runs may be robbed of its question, too, and looks again; whoever has
// put its name there last answers.
//
// killed                        leaves
//   behind the question         REVOKING(keeper, dead): the keeper, another thief or the repair
//   goes
//                               back to BIASED
//   behind the last swap        HELD(dead), or FREE with its hint set
#include <algorithm>
#include <array>

#include "keeping.hpp"
#include "pool_body.hpp"
#include "process_state.hpp"
#include "reap.hpp"
#include "shared_fence.hpp"
#include "turn.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::size_t theft_batch = 8;  // questions behind one heavy fence
constexpr std::uint32_t theft_rounds = 8;

/// What a thief wants: one slot for itself, the others free; or all of them free.
enum class Loot { one, none };

class Thief {
public:
    Thief(PoolObject& pool, PoolCache& cache, Loot loot, Effort effort) noexcept
        : pool_{pool}, body_{body_of(pool)}, cache_{cache}, loot_{loot}, effort_{effort} {}

    /// Looks at all slots; false when nothing is kept idle by others, or they are not to be asked.
    bool pass() noexcept {
        refused_ = false;
        met_ = false;
        HintTree hints = hints_of(body_, Hint::free);
        const std::uint64_t leaves = (body_.capacity + 63) / 64;
        for (std::uint64_t leaf = 0; leaf < leaves && taken_.word == 0; ++leaf) {
            if (effort_ != Effort::slots && body_.capacity > 64) {
                leaf = effort_ == Effort::leaves ? hints.next_leaf_surely(leaf)
                                                 : hints.next_leaf(leaf);
                if (leaf >= leaves) break;
            }
            const std::uint64_t end = std::min(body_.capacity, leaf * 64 + 64);
            for (std::uint64_t i = leaf * 64; i < end && taken_.word == 0; ++i) consider(i);
        }
        if (count_ != 0 && taken_.word == 0) ask_all();
        return met_;
    }
    [[nodiscard]] Taken taken() const noexcept { return taken_; }
    /// The heavy fence was refused: nothing can be stolen.
    [[nodiscard]] bool refused() const noexcept { return refused_; }

private:
    struct Question {
        std::uint64_t index;
        std::uint64_t word;  // as it stands, mine or another thief's
    };

    void consider(std::uint64_t index) noexcept {
        std::uint64_t word = truth_of(body_, index);
        if (!word::is_kept(word) || is_lent(pool_, word)) return;
        // What I keep is no loot; what I know nothing of, damage has put there.
        const KeptSlot& own = cache_.keeping.slots[word::entry(word)];
        if (own.index == index && own.word == word::unasked(word)) return;
        met_ = true;
        if (word::state(word) == SlotState::biased) {
            const std::uint64_t mine = word::asked(word, cache_.lane);
            if (!move_truth(body_, index, word, mine)) return;
            word = mine;
        }
        questions_[count_++] = {index, word};
        if (count_ == theft_batch) ask_all();
    }

    /// Behind one fence: every question of mine is answered; where another one's still stands mine
    /// takes its place, and is answered behind one more.
    void ask_all() noexcept {
        fence();
        bool more = false;
        for (std::size_t i = 0; i < count_; ++i) {
            Question& asked = questions_[i];
            if (is_mine(asked)) {
                answer(asked);
                asked.word = 0;
                continue;
            }
            std::uint64_t word = asked.word;
            const std::uint64_t mine = word::asked(word, cache_.lane);
            const bool wanted = taken_.word == 0 && !refused_;
            asked.word = wanted && move_truth(body_, asked.index, word, mine) ? mine : 0;
            more = more || asked.word != 0;
        }
        if (more) fence();
        for (std::size_t i = 0; i < count_; ++i) {
            if (questions_[i].word != 0) answer(questions_[i]);
        }
        count_ = 0;
    }
    void fence() noexcept {
        if (!shared_fence(body_.fences)) refused_ = true;
    }
    [[nodiscard]] bool is_mine(const Question& asked) const noexcept {
        return word::thief(asked.word) == cache_.lane;
    }

    void answer(const Question& asked) noexcept {
        std::uint64_t word = asked.word;
        if (refused_ || is_lent(pool_, word)) {
            (void)move_truth(body_, asked.index, word, word::unasked(word));
            return;
        }
        if (loot_ == Loot::one && taken_.word == 0) {
            const std::uint64_t held = word::next(word, SlotState::held, cache_.lane);
            if (!move_truth(body_, asked.index, word, held)) return;
            count_acquired(cache_);
            taken_ = {held, asked.index};
        } else if (move_truth(body_, asked.index, word, word::next(word, SlotState::free))) {
            announce_free(pool_, asked.index);
        }
    }

    PoolObject& pool_;
    PoolBody& body_;
    PoolCache& cache_;
    Loot loot_;
    Effort effort_;
    Taken taken_ = not_taken(Outcome::would_block);
    std::array<Question, theft_batch> questions_{};
    std::size_t count_ = 0;
    bool met_ = false;
    bool refused_ = false;
};

/// The process's lane has one thief at a time, for a question must be nobody else's.
Turn turn_of(const PoolObject& pool, const PoolCache& cache) noexcept {
    Atomic<std::uint64_t>* shared = cache.shared ? &attachment_of(&pool)->shared_thief : nullptr;
    return Turn{shared, cache.epoch};
}

}  // namespace

Taken steal(PoolObject& pool, PoolCache& cache, Effort effort) noexcept {
    Keeping& keeping = cache.keeping;
    if (!keeping.steals || keeping.busy) return not_taken(Outcome::would_block);
    const Busy busy{keeping};
    const Turn turn = turn_of(pool, cache);
    Thief thief{pool, cache, Loot::one, effort};
    for (std::uint32_t round = 0; round < theft_rounds; ++round) {
        if (!thief.pass() || thief.taken().word != 0 || thief.refused()) break;
    }
    return thief.taken();
}

void free_all_kept(PoolObject& pool) noexcept {
    PoolCache& cache = cache_of(pool);
    if (!cache.keeping.steals || cache.keeping.busy) return;
    settle_parked(cache);
    free_own_kept(pool, cache);
    Thief thief{pool, cache, Loot::none, Effort::slots};
    const Turn turn = turn_of(pool, cache);
    // In a closed pool nothing more is kept, so a pass comes that finds nothing.
    for (std::uint32_t round = 0; round < theft_rounds || is_closed(body_of(pool)); ++round) {
        if (!thief.pass() || thief.refused()) break;
    }
}

void repair_kept(PoolObject& pool, std::uint64_t index, const DeadLanes& dead) noexcept {
    PoolBody& body = body_of(pool);
    // Repeats when a thief or another repairer was there first.
    for (std::uint64_t word = truth_of(body, index); word::is_kept(word);) {
        const bool lent = is_lent(pool, word);
        // After both words were loaded, or a lane's new owner would be robbed.
        if (dead.names(word::owner(word))) {
            const std::uint64_t next =
                lent ? word::held_by_keeper(word) : word::next(word, SlotState::free);
            if (move_truth(body, index, word, next)) return;
        } else if (word::state(word) == SlotState::revoking && dead.names(word::thief(word))) {
            if (move_truth(body, index, word, word::unasked(word))) return;
        } else {
            return;
        }
    }
}

namespace {

/// What a lane that ends keeps: what is lent becomes HELD by `to`, what is idle FREE; in a closed
/// pool DIRTY, for the process lock is held, under which no hook may run. Whoever closes the pool
/// looks at every slot after nothing is kept any more, and ends it.
void hand_over_kept(PoolObject& pool, std::uint64_t index, std::uint32_t lane,
                    std::uint32_t to) noexcept {
    PoolBody& body = body_of(pool);
    std::uint64_t word = truth_of(body, index);
    while (word::is_kept(word) && word::owner(word) == lane) {
        if (is_lent(pool, word)) {
            // Same generation: the lease goes on, in whichever thread it is now.
            const std::uint64_t held = (word::held_by_keeper(word) & ~word::owner_mask) |
                                       std::uint64_t{to} << word::owner_shift;
            if (move_truth(body, index, word, held)) return;
        } else if (move_truth(body, index, word, word::next(word, SlotState::free))) {
            return announce_free(pool, index, Closed::leave_dirty);
        }
    }
}

}  // namespace

void hand_over(Attachment& attachment, std::uint32_t lane, bool leases) noexcept {
    if (leases) {
        attachment.for_each(Kind::pool, [&](const DirectoryEntry&, std::byte* object) {
            auto& pool = *reinterpret_cast<PoolObject*>(object);
            PoolBody& body = body_of(pool);
            for (std::uint64_t index = 0; index < body.capacity; ++index) {
                hand_over_kept(pool, index, lane, attachment.member);
                std::uint64_t word = truth_of(body, index);
                // Same generation: the lease goes on, in whichever thread it is now.
                while (word::names_owner(word) && word::owner(word) == lane &&
                       !move_truth(body, index, word,
                                   (word & ~word::owner_mask) | std::uint64_t{attachment.member}
                                                                    << word::owner_shift)) {
                }
            }
        });
    }
    attachment.for_each(Kind::lock, [&](const DirectoryEntry&, std::byte* object) {
        hand_over_lock(*reinterpret_cast<Atomic<std::uint64_t>*>(object), lane, attachment.member);
    });
}

}  // namespace lagoon::inline v1::detail
