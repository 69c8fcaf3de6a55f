// pool_info.cpp: making a pool's storage, and reading what a pool is about.
#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include <lagoon/error.hpp>

#include "pool_body.hpp"
#include "pool_creation.hpp"
#include "pool_life.hpp"
#include "pool_times.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1 {

namespace detail {

namespace {

SlotStatus status_of(const Seen& seen) noexcept {
    switch (word::state(seen.word)) {
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

/// Copies a value that others may be writing; the caller checks the slot's word afterwards. The
/// words are loaded as atomics, but their writer's stores are plain, which thread sanitizer would
/// report though the copy is thrown away.
__attribute__((no_sanitize("thread"))) void copy_guarded(std::byte* into, const std::byte* from,
                                                         std::uint64_t bytes) noexcept {
    std::uint64_t done = 0;
    for (; done + 8 <= bytes; done += 8) {
        auto& source = *reinterpret_cast<const Atomic<std::uint64_t>*>(from + done);
        // O15 acquire load, no pair: keeps the check of the word behind the copy; with the fence
        // behind every claim, a byte of a claimant brings its claim into view.
        const std::uint64_t piece = source.load(std::memory_order_acquire);
        std::memcpy(into + done, &piece, sizeof piece);
    }
    for (; done < bytes; ++done) {
        auto& source = *reinterpret_cast<const Atomic<unsigned char>*>(from + done);
        // O15 acquire load, no pair: as above. kept: no scene has a value with an odd byte.
        into[done] = std::byte{source.load(std::memory_order_acquire)};
    }
}

/// What a pool's storage is made of, from its body's start.
struct PoolPlan {
    std::uint64_t stride;
    std::uint64_t hints_at;
    std::uint64_t hint_words;
    std::uint64_t slots_at;
    std::uint64_t records_at;
    std::uint64_t times_at;
    std::uint64_t bytes;
};

PoolPlan plan_pool(const PoolOptions& options, std::uint64_t value_bytes, std::uint64_t value_align,
                   std::uint64_t value_at) {
    PoolPlan plan{};
    const std::uint64_t whole = value_at + value_bytes;
    plan.stride = options.dense ? round_up(whole, std::max<std::uint64_t>(value_align, 8))
                                : round_up(whole, cache_line_bytes);
    plan.hint_words = HintTree::words_for(options.capacity);
    plan.hints_at = sizeof(PoolBody);
    plan.slots_at = round_up(plan.hints_at + 3 * plan.hint_words * 8,
                             std::max<std::uint64_t>(value_align, cache_line_bytes));
    plan.bytes = plan.slots_at + plan.stride * options.capacity;
    if (wants_life(options.life)) {
        plan.records_at = round_up(plan.bytes, cache_line_bytes);
        plan.bytes = plan.records_at + sizeof(LifeRecord) * options.capacity;
    }
    if (options.life.measure) {
        plan.times_at = round_up(plan.bytes, alignof(TimeWords));
        plan.bytes = plan.times_at + times_bytes(options.capacity);
    }
    return plan;
}

}  // namespace

Storage enter_pool(PoolObject* pool, const char* name, const PoolOptions& options,
                   const ObjectDescription& element, std::uint64_t value_at) {
    if (options.capacity == 0 || options.capacity > capacity_limit) {
        throw Error{Errc::invalid_argument, std::string{"pool '"} + name + "' has a capacity of " +
                                                std::to_string(options.capacity.value) +
                                                "; it can be from 1 to " +
                                                std::to_string(capacity_limit)};
    }
    require_life(name, options);
    require_creation(name, options);
    require_quarantine(name, options);
    require_wait_order(name, options);
    if (element.element_bytes > (std::uint64_t{1} << 47) / options.capacity) {
        throw Error{Errc::too_large, std::string{"pool '"} + name +
                                         "': " + std::to_string(options.capacity.value) +
                                         " elements of " + std::to_string(element.element_bytes) +
                                         " bytes are more than any memory holds"};
    }
    const PoolPlan plan =
        plan_pool(options, element.element_bytes, element.element_align, value_at);
    ObjectDescription all = element;
    all.name = name;
    all.extent = options.capacity;
    pool->claims = register_stripes(pool, all, true);
    if (options.wait_order == WaitOrder::first_come) {
        pool->queue = register_stripes(pool, all, true);
    }
    all.kind = Kind::pool;
    all.storage_bytes = plan.bytes;
    all.storage_align = std::max<std::uint64_t>(element.element_align, cache_line_bytes);
    pool->body = register_object(pool, all);
    PoolBody& body = body_of(*pool);
    body.capacity = options.capacity;
    body.stride = plan.stride;
    body.value_bytes = element.element_bytes;
    body.value_at = value_at;
    body.slots_at = plan.slots_at;
    body.hints_at = plan.hints_at;
    body.hint_words = plan.hint_words;
    body.on_death = static_cast<std::uint16_t>(options.on_death);
    body.wait_order = static_cast<std::uint16_t>(options.wait_order);
    body.quarantine_after = options.quarantine_after;
    body.max_waiters = static_cast<std::uint32_t>(options.max_waiters);
    write_life(body, options.life, plan.records_at);
    write_creation(body, options);
    body.creation.times_at = plan.times_at;
    return pool->body;
}

const char* pool_flaw(const ArenaHeader& header, const DirectoryEntry& entry,
                      const std::byte* base) noexcept {
    if (entry.object_bytes < sizeof(PoolObject) || entry.storage_bytes < sizeof(PoolBody) ||
        entry.storage_offset % cache_line_bytes != 0 ||
        entry.storage_offset > header.arena_bytes - sizeof(PoolBody)) {
        return "its size";
    }
    const std::uint64_t object_at = header.root_offset + entry.object_offset;
    const auto& object = *reinterpret_cast<const PoolObject*>(base + object_at);
    const auto has_lines = [&](const Storage& lines) {
        const std::uint64_t at = object_at + static_cast<std::uint64_t>(lines.from_object);
        const std::uint64_t bytes = std::uint64_t{header.max_lanes} * cache_line_bytes;
        return lines.extent == header.max_lanes && at % cache_line_bytes == 0 &&
               at >= header.storage_offset && at <= header.arena_bytes &&
               bytes <= header.arena_bytes - at;
    };
    if (!has_lines(object.claims) || (object.queue.extent != 0 && !has_lines(object.queue))) {
        return "the place of its lanes";
    }
    const auto& body = *reinterpret_cast<const PoolBody*>(base + entry.storage_offset);
    if (body.capacity == 0 || body.capacity > capacity_limit || body.capacity != entry.extent ||
        body.value_bytes != entry.element_bytes ||
        body.on_death > static_cast<std::uint32_t>(OnDeath::quarantine) ||
        body.wait_order != (object.queue.extent != 0 ? 1 : 0)) {
        return "its capacity, element or policy";
    }
    const std::uint64_t hints = 3 * HintTree::words_for(body.capacity) * sizeof(std::uint64_t);
    if (body.hint_words != HintTree::words_for(body.capacity) || body.hints_at % 8 != 0 ||
        body.hints_at < sizeof(PoolBody) || body.slots_at % 8 != 0 ||
        body.slots_at > entry.storage_bytes || body.hints_at > body.slots_at ||
        hints > body.slots_at - body.hints_at) {
        return "the place of its hints";
    }
    const std::uint64_t align = entry.element_align;
    if (!std::has_single_bit(align) || align > page_bytes || body.stride % align != 0 ||
        (entry.storage_offset + body.slots_at + body.value_at) % align != 0 ||
        body.stride % 8 != 0 || body.value_at % 8 != 0 || body.value_at < sizeof(SlotHead) ||
        body.value_at > body.stride || body.value_bytes > body.stride - body.value_at ||
        body.stride > (entry.storage_bytes - body.slots_at) / body.capacity) {
        return "the place of its slots";
    }
    for (const char* flaw : {creation_flaw(body), life_flaw(body, entry.storage_bytes),
                             times_flaw(body, entry.storage_bytes)}) {
        if (flaw != nullptr) return flaw;
    }
    return nullptr;
}

namespace {

Atomic<std::uint64_t>* claim_of(const PoolObject& pool, std::uint64_t word) noexcept {
    const std::uint32_t lane = word::owner(word);
    const std::uint32_t entry = word::entry(word);
    if (lane >= pool.claims.extent || entry == 0 || entry > claim_words) return nullptr;
    return &claims_of(pool, lane).claim[entry - 1];
}

}  // namespace

LaneClaims& claims_of(const PoolObject& pool, std::uint64_t lane) noexcept {
    auto* object = reinterpret_cast<std::byte*>(const_cast<PoolObject*>(&pool));
    return reinterpret_cast<LaneClaims*>(object + pool.claims.from_object)[lane];
}

bool is_lent(const PoolObject& pool, std::uint64_t kept) noexcept {
    const Atomic<std::uint64_t>* claim = claim_of(pool, kept);
    // K3 acquire load <- K2, K5.
    return claim == nullptr || claim->load(std::memory_order_acquire) % 2 != 0;
}

std::uint64_t claimed_by(const PoolObject& pool, std::uint64_t kept) noexcept {
    const Atomic<std::uint64_t>* claim = claim_of(pool, kept);
    // K3 acquire load <- K2, K5.
    return claim == nullptr ? 0 : claim->load(std::memory_order_acquire);
}

Seen see_slot(const PoolObject& pool, std::uint64_t index) noexcept {
    PoolBody& body = body_of(pool);
    for (std::uint64_t word = truth_of(body, index);;) {
        const bool lent =
            word::is_kept(word) ? is_lent(pool, word) : word::state(word) == SlotState::held;
        const std::uint64_t again = truth_of(body, index);
        // Whoever has changed it meanwhile has come on.
        if (again == word || !word::is_kept(word)) return {word, lent};
        word = again;
    }
}

std::uint64_t leases_of(const LaneClaims& claims) noexcept {
    std::uint64_t leases = read(claims.taken);
    for (const auto& claim : claims.claim) leases += (read(claim) + 1) / 2;
    return leases;
}

PoolPrivate& pool_private(Attachment& attachment, const PoolObject& pool) {
    const ProcessLock lock;
    auto& place = attachment.pools[attachment.offset_of(&pool)];
    if (place == nullptr) place = std::make_unique<PoolPrivate>();
    return *place;
}

std::string name_of_pool(const PoolObject& pool) {
    std::string what = "pool";
    if (const Attachment* attachment = attachment_of(&pool)) {
        attachment->for_each(Kind::pool, [&](const DirectoryEntry& entry, std::byte* at) {
            if (reinterpret_cast<PoolObject*>(at) != &pool) return;
            what = "arena '" + attachment->name + "': pool '" + entry.name.data() + "'";
        });
    }
    return what;
}

void throw_changed(const PoolObject& pool, std::uint64_t index) {
    throw Error{Errc::corrupt,
                name_of_pool(pool) + ": slot " + std::to_string(index) +
                    " was changed while this process owned it; something else writes into the "
                    "arena's memory"};
}

std::uint64_t leases_held(const Attachment& attachment) noexcept {
    std::uint64_t held = 0;
    // B7 acquire load <- B6. kept: changed under the process lock only.
    if (attachment.member_state.load(std::memory_order_acquire) == 0) return 0;
    attachment.for_each(Kind::pool, [&](const DirectoryEntry&, std::byte* object) {
        PoolBody& body = body_of(*reinterpret_cast<PoolObject*>(object));
        for (std::uint64_t index = 0; index < body.capacity; ++index) {
            const auto [word, lent] = see_slot(*reinterpret_cast<PoolObject*>(object), index);
            if (!lent) continue;
            const std::uint32_t lane = word::owner(word);
            if (lane < attachment.header->max_members) {
                held += lane == attachment.member ? 1 : 0;
            } else if (lane < attachment.header->max_lanes) {
                // R2 acquire load <- R3, N1. kept: of this process's lanes, and another's is none.
                const std::uint64_t state =
                    attachment.lane_entry(lane).state.load(std::memory_order_acquire);
                held += is_live(state) && member_of_lane(state) == attachment.member ? 1 : 0;
            }
        }
    });
    return held;
}

namespace {

/// The slot as it is, with a copy of its value where it is idle.
Seen copy_idle(const PoolObject& pool, std::uint64_t index, std::byte* value,
               bool* copied) noexcept {
    PoolBody& body = body_of(pool);
    for (;;) {
        const Seen seen = see_slot(pool, index);
        const bool kept = word::is_kept(seen.word) && !seen.lent;
        *copied = kept || word::state(seen.word) == SlotState::free;
        if (!*copied) return seen;
        const std::uint64_t claimed = kept ? claimed_by(pool, seen.word) : 0;
        if (claimed % 2 != 0) continue;  // lent since
        copy_guarded(value, value_of(body, index), body.value_bytes);
        // O1 acquire load <- O2, P2, P5, K4, K6: unchanged, so the copy is of one idle moment.
        // kept: O15 has the copy in front of it, so relaxed would do.
        const std::uint64_t again = slot_of(body, index).truth.load(std::memory_order_acquire);
        if (again == seen.word && (!kept || claimed_by(pool, seen.word) == claimed)) return seen;
    }
}

}  // namespace

void pool_snapshot(PoolObject& pool, void* value,
                   const std::function<void(const ErasedSlotInfo&)>& each) {
    PoolBody& body = body_of(pool);
    Attachment& attachment = *lane_of(&pool).attachment;
    PoolPrivate& own = pool_private(attachment, pool);
    const auto now = std::chrono::steady_clock::now();
    for (std::uint64_t index = 0; index < body.capacity; ++index) {
        SlotHead& slot = slot_of(body, index);
        ErasedSlotInfo info{};
        const Seen seen = copy_idle(pool, index, static_cast<std::byte*>(value), &info.has_value);
        const std::uint64_t word = seen.word;
        info.index = index;
        // O13 acquire load <- O8, O14. kept: for display.
        info.fill = meta::fill(slot.meta.load(std::memory_order_acquire));
        info.uses = word::generation(word) / 2;
        info.state = status_of(seen);
        info.owner_pid = word::names_owner(word) || (word::is_kept(word) && seen.lent)
                             ? pid_of_lane(attachment, word::owner(word))
                             : 0;
        info.recovered = word::recovered(word);
        {
            const ProcessLock lock;
            if (own.seen.size() < body.capacity) own.seen.resize(body.capacity);
            auto& before = own.seen[index];
            if (before.word != word || before.first.time_since_epoch().count() == 0) {
                before = {word, now};
            }
            info.age = now - before.first;
        }
        each(info);
    }
}

bool pool_is_closed(const PoolObject& pool) noexcept { return is_closed(body_of(pool)); }

std::uint64_t pool_count(const PoolObject& pool, SlotState state) noexcept {
    PoolBody& body = body_of(pool);
    std::uint64_t found = 0;
    for (std::uint64_t index = 0; index < body.capacity; ++index) {
        const auto [word, lent] = see_slot(pool, index);
        const SlotState kept = lent ? SlotState::held : SlotState::free;
        if ((word::is_kept(word) ? kept : word::state(word)) == state) ++found;
    }
    return found;
}

PoolStats pool_stats(const PoolObject& pool) {
    PoolBody& body = body_of(pool);
    PoolStats stats;
    stats.capacity = body.capacity;
    for (std::uint64_t index = 0; index < body.capacity; ++index) {
        switch (status_of(see_slot(pool, index))) {
            case SlotStatus::empty: ++stats.empty; break;
            case SlotStatus::creating: ++stats.creating; break;
            case SlotStatus::idle: ++stats.idle; break;
            case SlotStatus::leased: ++stats.leased; break;
            case SlotStatus::dirty: ++stats.dirty; break;
            case SlotStatus::checking:
            case SlotStatus::closing: ++stats.maintained; break;
            case SlotStatus::quarantined:
            case SlotStatus::retired: ++stats.quarantined; break;
        }
    }
    stats.waiting = waiting_lanes(body);
    for (std::uint64_t lane = 0; lane < pool.claims.extent; ++lane) {
        stats.acquired += leases_of(claims_of(pool, lane));
    }
    stats.retry_in = until_next_try(body);
    stats.created = read(body.created);
    stats.destroyed = read(body.destroyed);
    stats.create_failed = read(body.create_failed);
    stats.recovered = read(body.recovered);
    stats.quarantines = read(body.quarantines);
    stats.hooks_missing = read(body.hooks_missing);
    stats.waits = read(body.waits);
    stats.timed_out = read(body.timed_out);
    stats.late_wakes = read(body.late_wakes);
    stats.damaged = read(body.damaged);
    stats.ended_by_lifetime = read(body.ended_by_lifetime);
    stats.ended_by_uses = read(body.ended_by_uses);
    stats.ended_by_idle = read(body.ended_by_idle);
    stats.ended_by_failures = read(body.ended_by_failures);
    stats.ended_by_check = read(body.ended_by_check);
    // Taken and not lent: their borrower has looked on.
    stats.acquired -= std::min(stats.acquired, stats.ended_by_check);
    return stats;
}

}  // namespace detail

}  // namespace lagoon::inline v1
