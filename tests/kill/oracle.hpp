// oracle.hpp: what must hold of a desk after a death and its repair.
#pragma once

#include <algorithm>
#include <bit>
#include <map>
#include <runtime/members.hpp>
#include <runtime/pool_life.hpp>

#include "kill/generations.hpp"

namespace rig {

namespace word = lagoon::detail::word;
namespace meta = lagoon::detail::meta;

/// The desk as every run begins: two resources in each pool, three in `many`.
inline void fill(const Arena<Desk>& desk) {
    each_pool(desk, [](auto& pool) { pool.clear(); });
    for (std::uint64_t id = 1; id <= 2; ++id) {
        desk->pool.add(Resource{id});
        desk->served.add(Resource{id + 10});
        desk->reset.add(Resource{id + 20});
        desk->ended.add(Resource{id + 30});
        desk->apart.add(Resource{id + 40});
        desk->twice.add(Resource{id + 50});
        desk->aged.add(Resource{id + 60});
    }
    for (std::uint64_t id = 0; id < 3; ++id) desk->many.add(id);
    desk->total.exchange(100);
    desk->numbers.fill(7);
    desk->narrow.store(5);
    desk->wide.store(Wide{1, 1, 1, 1, 1});
    desk->text.store(Text{"as it was"});
    for (Wide& row : desk->table.span()) row = {1, 1, 1, 1, 1};
}

/// Of idle resources: ids, each once; all of them whole but those whose borrower died.
inline std::set<std::uint64_t> ids_in(lagoon::Pool<Resource>& pool) {
    std::set<std::uint64_t> ids;
    for (const auto& slot : pool.snapshot()) {
        if (!slot.value) continue;
        INFO("slot " << slot.index << " with resource " << slot.value->id);
        REQUIRE(ids.insert(slot.value->id).second);
        if (!slot.recovered) REQUIRE(slot.value->whole());
    }
    return ids;
}

inline Model model_of(const Arena<Desk>& desk) {
    Model model;
    model.total = desk->total.load();
    model.events = desk->events.load();
    for (std::size_t i = 0; i < model.numbers.size(); ++i) {
        model.numbers[i] = desk->numbers[i].load();
    }
    model.narrow = desk->narrow.load();
    model.wide = desk->wide.load();
    model.text = std::string{desk->text.load().view()};
    model.pool = ids_in(desk->pool);
    model.served = ids_in(desk->served);
    model.reset = ids_in(desk->reset);
    model.ended = ids_in(desk->ended);
    model.apart = ids_in(desk->apart);
    model.twice = ids_in(desk->twice);
    model.aged = ids_in(desk->aged);
    model.many = desk->many.idle();
    model.closed = desk->pool.closed();
    return model;
}

/// What the dead have left, as it was before anybody repaired it.
class Dead {
public:
    /// Whose traces: of who has died, or of everybody else, for they are about to.
    enum class Of { the_dead, all_others };

    /// `undisturbed`: nobody else can have begun to repair, or will lend on what is repaired.
    Dead(const Arena<Desk>& desk, bool undisturbed, Of whom = Of::the_dead)
        : desk_{desk}, undisturbed_{undisturbed} {
        auto& attachment = desk.attached();
        const auto& header = *attachment.header;
        for (std::uint32_t i = 0; i < header.max_members; ++i) {
            std::uint64_t state = 0;
            const auto life = lagoon::detail::member_life(attachment, i, &state);
            const bool doomed = whom == Of::all_others && i != attachment.member &&
                                life == lagoon::detail::MemberLife::alive;
            if (doomed || life == lagoon::detail::MemberLife::dead) lanes_.insert(i);
        }
        for (auto i = header.max_members; i < header.max_lanes; ++i) {
            const auto state = attachment.lane_entry(i).state.load(std::memory_order_acquire);
            if (lagoon::detail::is_live(state) &&
                lanes_.contains(lagoon::detail::member_of_lane(state))) {
                lanes_.insert(i);
            }
        }
        each_pool(desk, [&](auto& pool) { look(pool, seen_[&pool]); });
        lock_ = lock_word();
    }

    /// What the living have in hand is still theirs.
    void require_lent(const std::vector<Lease<Resource>>& leases) const {
        for (const auto& lease : leases) {
            const auto& seen = seen_.at(&desk_->pool)[lease.index()];
            REQUIRE(word::state(seen.truth) == SlotState::held);
            REQUIRE_FALSE(seen.of_the_dead);
        }
    }
    /// Everything that named the dead has become what it must become; `later` have died since, in
    /// their repair.
    void require_settled(const Dead* later = nullptr) const {
        each_pool(desk_, [&](auto& pool) { settled(pool, seen_.at(&pool), later); });
        const bool owner_died = (lock_ >> 10 & 1) != 0 && lanes_.contains(lock_ & 0x3ff);
        if (owner_died) {
            REQUIRE(desk_->lock.owner_died());
        } else if (undisturbed_ && (lock_ >> 12 & 1) == 0) {
            REQUIRE_FALSE(desk_->lock.owner_died());
        }
    }

    /// Resources that their pool's policy has ended or put apart, for their borrower has died.
    void add_lost(std::set<std::uint64_t>& lost) const {
        for (auto* pool : {&desk_->ended, &desk_->apart, &desk_->twice}) {
            const auto& all = seen_.at(pool);
            for (std::uint64_t i = 0; i < all.size(); ++i) {
                const bool borrowed = word::state(all[i].truth) == SlotState::held;
                if (!all[i].of_the_dead || !borrowed) continue;
                if (support::state_of(*pool, i) != SlotState::free) lost.insert(all[i].id);
            }
        }
    }

private:
    [[nodiscard]] std::uint64_t lock_word() const {
        return reinterpret_cast<lagoon::detail::Atomic<std::uint64_t>&>(desk_->lock)
            .load(std::memory_order_acquire);
    }
    template <class T>
    void look(lagoon::Pool<T>& pool, std::vector<SlotSeen>& into) const {
        for (std::uint64_t i = 0; i < pool.capacity(); ++i) {
            SlotSeen seen;
            seen.truth = support::truth_of(pool, i);
            seen.meta = meta_of(pool, i);
            if constexpr (std::is_same_v<T, Resource>) seen.id = resource_of(pool, i).id;
            const bool kept = word::is_kept(seen.truth);
            seen.of_the_dead =
                (kept || word::names_owner(seen.truth)) && lanes_.contains(word::owner(seen.truth));
            // A kept slot that is lent is a lease like any other.
            if (kept && lagoon::detail::is_lent(support::object_of(pool), seen.truth)) {
                seen.truth = word::held_by_keeper(seen.truth);
            }
            into.push_back(seen);
        }
    }
    template <class T>
    void settled(lagoon::Pool<T>& pool, const std::vector<SlotSeen>& all, const Dead* later) const {
        const auto& body = support::body_of(pool);
        // With a hook for it, what becomes of a resource is the hook's word.
        const bool has_check = body.hooks.load(std::memory_order_acquire) != 0;
        for (std::uint64_t i = 0; i < all.size(); ++i) {
            const auto& seen = all[i];
            const auto now = support::truth_of(pool, i);
            INFO("slot " << i << " was " << std::hex << seen.truth << ", is " << now);
            if (!seen.of_the_dead) {
                // Nobody but the dead has worked on it.
                const bool over = lagoon::detail::has_life(body);  // who reaps may end it
                if (undisturbed_ && word::state(seen.truth) == SlotState::free && !over &&
                    !pool.closed()) {
                    REQUIRE(now == seen.truth);
                }
                continue;
            }
            // Each step counts: a late release must not fit again.
            REQUIRE(now != seen.truth);
            REQUIRE(word::generation(now) >=
                    word::generation(seen.truth) + steps().between(seen.truth, now));
            // A check or a destroy of it may have been somebody's death, too.
            // Where another one repaired meanwhile, nothing of that death is left to be seen.
            const bool again =
                later != nullptr &&
                (!later->undisturbed_ || (later->seen_.at(&pool)[i].of_the_dead &&
                                          later->seen_.at(&pool)[i].truth != seen.truth));
            const auto found = meta::deaths(meta_of(pool, i));
            const bool too_many = body.quarantine_after != 0 && found >= body.quarantine_after;
            switch (word::state(seen.truth)) {
                case SlotState::held: {
                    // Once, also when a repairer died between the count and the word.
                    const auto counted = meta::deaths(meta::count_death(seen.meta, seen.truth));
                    REQUIRE(found >= counted);
                    // The next borrower may have died with it, too.
                    if (undisturbed_) REQUIRE(found <= counted + (again ? 1 : 0));
                    const auto policy = static_cast<lagoon::OnDeath>(body.on_death);
                    if (policy == lagoon::OnDeath::quarantine || too_many) {
                        REQUIRE(word::state(now) == SlotState::quarantined);
                    } else if (pool.closed() || policy == lagoon::OnDeath::destroy ||
                               word::is_broken(seen.truth)) {
                        REQUIRE(word::state(now) == SlotState::empty);
                    } else if (has_check) {
                        REQUIRE_FALSE(word::recovered(now));
                    } else {
                        REQUIRE(word::state(now) == SlotState::free);
                        REQUIRE(word::recovered(now));
                    }
                    break;
                }
                case SlotState::building: {
                    REQUIRE(word::state(now) == SlotState::empty);
                    REQUIRE(meta::fill(meta_of(pool, i)) ==
                            meta::fill(meta::begin_fill(seen.meta, seen.truth)));
                    break;
                }
                case SlotState::closing:
                    REQUIRE(word::state(now) ==
                            (too_many ? SlotState::quarantined : SlotState::empty));
                    break;
                case SlotState::biased:
                case SlotState::revoking:  // kept idle: as if it had been given back to all
                    if (undisturbed_ && !pool.closed()) {
                        REQUIRE(word::state(now) == SlotState::free);
                        REQUIRE_FALSE(word::recovered(now));
                    }
                    break;
                default: break;  // checking: whatever the check says
            }
        }
    }

    Arena<Desk> desk_;
    bool undisturbed_;
    std::set<std::uint64_t> lanes_;
    std::map<const void*, std::vector<SlotSeen>> seen_;  // of each pool
    std::uint64_t lock_ = 0;
};

inline void reap_all(const Arena<Desk>& desk) {
    (void)desk.reap();
    REQUIRE(desk.reap() == lagoon::Reaped{});  // nothing is left for a second one
}

/// Every bit that must be there for a slot to be found.
template <class T>
void require_hints(lagoon::Pool<T>& pool) {
    auto& body = support::body_of(pool);
    const auto missing = [&](lagoon::detail::Hint which, std::uint64_t index) {
        const auto tree = lagoon::detail::hints_of(body, which);
        if (!tree.test(index)) return true;
        const std::uint64_t leaf = index / 64;
        return const_cast<lagoon::detail::HintTree&>(tree).next_leaf(leaf) != leaf;
    };
    for (std::uint64_t i = 0; i < pool.capacity(); ++i) {
        INFO("the hint of slot " << i);
        switch (support::state_of(pool, i)) {
            case SlotState::free:
            case SlotState::biased: REQUIRE_FALSE(missing(lagoon::detail::Hint::free, i)); break;
            case SlotState::empty:
                if (i < body.virgin.load(std::memory_order_relaxed)) {
                    REQUIRE_FALSE(missing(lagoon::detail::Hint::empty, i));
                }
                break;
            default: break;
        }
    }
}

/// Every slot is idle or empty, an empty one without a trace of its resource.
template <class T>
void require_pool_at_rest(lagoon::Pool<T>& pool) {
    for (std::uint64_t i = 0; i < pool.capacity(); ++i) {
        const auto truth = support::truth_of(pool, i);
        INFO("slot " << i << " of " << pool.capacity() << ": " << std::hex << truth);
        const bool empty = word::state(truth) == SlotState::empty;
        const bool apart = word::state(truth) == SlotState::quarantined;
        const bool kept = word::state(truth) == SlotState::biased &&
                          !lagoon::detail::is_lent(support::object_of(pool), truth);
        REQUIRE((empty || apart || !pool.closed()));
        REQUIRE((empty || apart || kept || word::state(truth) == SlotState::free));
        if (empty) REQUIRE(support::is_blank(pool, i));
    }
    require_hints(pool);
    auto& body = support::body_of(pool);
    REQUIRE(body.bulk.load(std::memory_order_acquire) == 0);
    const auto demand = body.demand.load(std::memory_order_acquire);
    REQUIRE(((demand & lagoon::detail::demand_attention) != 0) == pool.closed());
}

/// No word names anybody, no place is taken but the test's own.
inline void require_at_rest(const Arena<Desk>& desk) {
    auto& attachment = desk.attached();
    for (std::uint32_t i = 0; i < attachment.header->max_members; ++i) {
        const auto state = attachment.member_entry(i).state.load(std::memory_order_acquire);
        INFO("member " << i);
        REQUIRE(lagoon::detail::is_live(state) == (i == attachment.member));
    }
    for (auto i = attachment.header->max_members; i < attachment.header->max_lanes; ++i) {
        const auto state = attachment.lane_entry(i).state.load(std::memory_order_acquire);
        INFO("lane " << i);
        if (lagoon::detail::is_live(state)) {
            REQUIRE(lagoon::detail::member_of_lane(state) == attachment.member);
        }
    }
    each_pool(desk, [](auto& pool) { require_pool_at_rest(pool); });
    REQUIRE_FALSE(desk->lock.is_locked());
    REQUIRE_FALSE(desk->strict.is_locked());
    for (void* value : {static_cast<void*>(&desk->wide), static_cast<void*>(&desk->text)}) {
        const auto selector = static_cast<lagoon::detail::ValueCore*>(value)->selector.load(
            std::memory_order_acquire);
        REQUIRE((selector & lagoon::detail::selector::claimed_bit) == 0);
    }
}

/// Everything is as before the operation or as after it; and as after it when it was over. But for
/// what was lost with its borrower.
inline void require_between(const Arena<Desk>& desk, const Model& before, const Model& after,
                            bool over, const std::set<std::uint64_t>& lost) {
    const Model now = model_of(desk);
    const auto one_of = [&](const char* what, const auto& found, const auto& old,
                            const auto& changed) {
        INFO(what << (over ? ", after the operation" : ", after a kill"));
        REQUIRE((found == changed || (!over && found == old)));
    };
    one_of("total", now.total, before.total, after.total);
    one_of("events", now.events, before.events, after.events);
    for (std::size_t i = 0; i < now.numbers.size(); ++i) {
        one_of("an element", now.numbers[i], before.numbers[i], after.numbers[i]);
    }
    one_of("the narrow value", now.narrow, before.narrow, after.narrow);
    one_of("the wide value", now.wide, before.wide, after.wide);
    one_of("the text", now.text, before.text, after.text);
    one_of("closed", now.closed, before.closed, after.closed);
    const auto resources = [&](const char* what, const std::set<std::uint64_t>& found,
                               const std::set<std::uint64_t>& old,
                               const std::set<std::uint64_t>& changed) {
        INFO(what);
        const auto gone = [&](std::uint64_t id) { return lost.contains(id); };
        for (const auto id : found) REQUIRE((changed.contains(id) || (!over && old.contains(id))));
        for (const auto id : changed) {
            REQUIRE((found.contains(id) || gone(id) || (!over && !old.contains(id))));
        }
    };
    resources("pool", now.pool, before.pool, after.pool);
    resources("served", now.served, before.served, after.served);
    resources("reset", now.reset, before.reset, after.reset);
    resources("ended", now.ended, before.ended, after.ended);
    resources("apart", now.apart, before.apart, after.apart);
    resources("twice", now.twice, before.twice, after.twice);
    resources("aged", now.aged, before.aged, after.aged);
    REQUIRE(now.many >= std::min(before.many, after.many));
    REQUIRE(now.many <= std::max(before.many, after.many));
}

/// Takes all that is idle, in one go, and gives it back.
template <class T>
void require_all_lent(lagoon::Pool<T>& pool, Generations& generations) {
    const auto idle = pool.idle();
    std::vector<Lease<T>> all;
    // One that is to be checked first is lent to who may run hooks.
    const auto take = [&] {
        return lagoon::detail::has_life(support::body_of(pool)) ? pool.acquire_until({})
                                                                : pool.try_acquire();
    };
    while (auto lease = take()) all.push_back(std::move(lease));
    REQUIRE(all.size() == (pool.closed() ? 0 : idle));
    for (const auto& lease : all) generations.look(pool, lease);
    generations.look(pool);
    all.clear();
    // A dead waiter's mark is a hint: it goes when somebody has given back.
    if (idle > 0) {
        REQUIRE(pool.stats().waiting == 0);
        const auto demand = support::body_of(pool).demand.load(std::memory_order_acquire);
        REQUIRE(!lagoon::detail::is_demanded(demand & ~lagoon::detail::demand_attention));
    }
}

/// The next one can do everything; leaves the desk clean.
inline void require_usable(const Arena<Desk>& desk, Generations& generations) {
    each_pool(desk, [&](auto& pool) { require_all_lent(pool, generations); });
    for (lagoon::Lock* lock : {&desk->lock, &desk->strict}) {
        REQUIRE(lock->try_lock());
        lock->mark_clean();
        lock->unlock();
    }
    desk->wide.store(Wide{});
    REQUIRE(desk->wide.load() == Wide{});
    desk->text.store(Text{"usable"});
    REQUIRE(desk->text.load() == "usable");
}

}  // namespace rig
