// door.cpp: an atomic call becomes a step.
#include "door.hpp"

#include <cstdio>
#include <cstring>

#include "heap.hpp"
#include "weaken.hpp"
#include "world.hpp"

namespace model {

namespace {

const char* name_of(std::memory_order order) noexcept {
    switch (order) {
        case std::memory_order_relaxed: return "relaxed";
        case std::memory_order_acquire: return "acquire";
        case std::memory_order_release: return "release";
        case std::memory_order_acq_rel: return "acq_rel";
        default: return "seq_cst";
    }
}

void tell(const char* what, const void* at, std::uint64_t value, std::memory_order order,
          Site site) {
    if (!world().is_traced()) return;
    const char* file = std::strrchr(site.file, '/');
    char line[200];
    std::snprintf(line, sizeof line, "%-8s +%-6llu %-18llx %s %s:%u", what,
                  static_cast<unsigned long long>(world().memory.offset_of(at)),
                  static_cast<unsigned long long>(value), name_of(order),
                  file != nullptr ? file + 1 : site.file, site.line);
    world().tell(line);
}

std::uint64_t raw(const void* at, unsigned size) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, at, size);
    return value;
}

/// A step of the engine; everything else is one thread's own business.
bool is_step(const void* at) noexcept { return world().inside() && world().memory.is_shared(at); }

std::uint64_t update_plainly(void* at, unsigned size, Update what, std::uint64_t operand) {
    const std::uint64_t before = raw(at, size);
    std::uint64_t after = operand;
    switch (what) {
        case Update::exchange: break;
        case Update::add: after = before + operand; break;
        case Update::subtract: after = before - operand; break;
        case Update::bit_and: after = before & operand; break;
        case Update::bit_or: after = before | operand; break;
        case Update::bit_xor: after = before ^ operand; break;
    }
    std::memcpy(at, &after, size);
    return before;
}

}  // namespace

std::uint64_t atomic_load(const void* at, unsigned size, std::memory_order order, Site site) {
    if (!is_step(at)) return raw(at, size);
    const heap::EngineScope scope;
    (void)weakened(site, &order);
    world().point();
    const int actor = world().current();
    const std::uint64_t value = world().memory.load(actor, at, size, order);
    world().observe(value);
    tell("load", at, value, order, site);
    return value;
}

void atomic_store(void* at, unsigned size, std::uint64_t value, std::memory_order order,
                  Site site) {
    if (!is_step(at)) {
        std::memcpy(at, &value, size);
        return;
    }
    const heap::EngineScope scope;
    (void)weakened(site, &order);
    world().point();
    world().memory.store(world().current(), at, size, value, order);
    world().observe(1);
    tell("store", at, value, order, site);
}

std::uint64_t atomic_update(void* at, unsigned size, Update what, std::uint64_t operand,
                            std::memory_order order, Site site) {
    if (!is_step(at)) return update_plainly(at, size, what, operand);
    const heap::EngineScope scope;
    if (weakened(site, &order) == Weaker::torn) {
        world().point();
        Memory& memory = world().memory;
        const int actor = world().current();
        const std::uint64_t before = memory.load(actor, at, size, order);
        world().observe(before);
        world().point();
        std::uint64_t after = before;
        (void)update_plainly(&after, sizeof after, what, operand);
        memory.store(actor, at, size, after, order);
        return before;
    }
    world().point();
    const std::uint64_t before =
        world().memory.update(world().current(), at, size, static_cast<Rmw>(what), operand, order);
    world().observe(before);
    tell("update", at, raw(at, size), order, site);
    return before;
}

bool atomic_compare_exchange(void* at, unsigned size, std::uint64_t& expected,
                             std::uint64_t desired, std::memory_order success,
                             std::memory_order failure, Site site) {
    if (!is_step(at)) {
        const std::uint64_t found = raw(at, size);
        if (found != expected) {
            expected = found;
            return false;
        }
        std::memcpy(at, &desired, size);
        return true;
    }
    const heap::EngineScope scope;
    const Weaker how = weakened(site, &success);
    if (how == Weaker::failure) failure = std::memory_order_relaxed;
    world().point();
    const int actor = world().current();
    if (how == Weaker::torn) {
        const std::uint64_t found = world().memory.load(actor, at, size, success);
        world().observe(found);
        const bool same = found == expected;
        expected = found;
        if (!same) return false;
        world().point();
        world().memory.store(actor, at, size, desired, success);
        return true;
    }
    const bool done =
        world().memory.compare_exchange(actor, at, size, expected, desired, success, failure);
    world().observe(done ? mix(1, 1) : expected);
    tell(done ? "cas" : "cas fails", at, raw(at, size), done ? success : failure, site);
    return done;
}

bool heavy_fence_at(Site site) noexcept {
    {
        const heap::EngineScope scope;
        if (weakened(site, nullptr) == Weaker::gone) return true;
    }
    return barrier_everywhere();
}

void release_fence_at(Site site) noexcept {
    if (!world().inside()) return;
    const heap::EngineScope scope;
    if (weakened(site, nullptr) == Weaker::gone) return;
    world().memory.release_fence(world().current());
}

void relax() {
    if (!world().inside()) return;
    const heap::EngineScope scope;
    world().yield();
}

}  // namespace model
