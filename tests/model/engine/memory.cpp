// memory.cpp: histories, store buffers, clocks.
#include "memory.hpp"

#include <cstring>

#include "world.hpp"

namespace model {

namespace {

bool acquires(std::memory_order order) noexcept {
    return order == std::memory_order_acquire || order == std::memory_order_acq_rel ||
           order == std::memory_order_seq_cst;
}
bool releases(std::memory_order order) noexcept {
    return order == std::memory_order_release || order == std::memory_order_acq_rel ||
           order == std::memory_order_seq_cst;
}
std::uint64_t raw(const void* at, unsigned size) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, at, size);
    return value;
}
std::uint64_t apply(Rmw what, std::uint64_t value, std::uint64_t operand) noexcept {
    switch (what) {
        case Rmw::exchange: return operand;
        case Rmw::add: return value + operand;
        case Rmw::subtract: return value - operand;
        case Rmw::bit_and: return value & operand;
        case Rmw::bit_or: return value | operand;
        case Rmw::bit_xor: return value ^ operand;
    }
    return value;
}
std::uint64_t cut(std::uint64_t value, unsigned size) noexcept {
    return size == 8 ? value : value & ((std::uint64_t{1} << (size * 8)) - 1);
}

}  // namespace

void Memory::share(void* memory, std::size_t bytes) {
    unshare();
    begin_ = reinterpret_cast<std::uintptr_t>(memory);
    bytes_ = bytes;
    index_of_byte_.assign(bytes, 0);
    shadows_.assign(bytes / 4 + 1, Shadow{});
}

void Memory::unshare() {
    begin_ = bytes_ = 0;
    locations_.clear();
    locations_.emplace_back();  // number 0 is none
    index_of_byte_.clear();
}

void Memory::begin_execution(const Bounds& bounds) {
    ++execution_;
    histories_ = bounds.stale > 0;
    buffers_ = bounds.store_buffers;
    stale_left_ = bounds.stale;
    lag_ = bounds.lag;
    hash_ = 0;
    ordered_.fill(0);
    views_used_ = 1;
    if (views_.empty()) views_.resize(1);
    for (int a = 0; a < most_actors; ++a) {
        known_[a] = {};
        known_[a].clock[a] = 1;
        fenced_[a] = {};
        buffer_[a].clear();
    }
}

Memory::Location& Memory::location(const void* at, unsigned size) {
    std::uint16_t& index = index_of_byte_[offset_of(at)];
    if (index == 0) {
        if (locations_.size() == most_locations) fail("the program has too many atomics");
        index = static_cast<std::uint16_t>(locations_.size());
        locations_.emplace_back();
        locations_.back().at = const_cast<void*>(at);
        locations_.back().index = index;
    }
    Location& found = locations_[index];
    if (found.execution != execution_) {
        found.execution = execution_;
        found.size = size;
        found.hash = 0;
        found.history.assign(1, {raw(at, size), {}, 0, 0});
    }
    // Plain stores to the same bytes: seen by everybody, ordered with nothing.
    const std::uint64_t value = raw(at, found.size);
    if (value != found.history.back().value) {
        append(found, {value, {}, 0, found.history.back().ordered});
    }
    return found;
}

void Memory::append(Location& where, const Message& message) {
    std::uint64_t hash = mix(mix(offset_of(where.at), message.value), hash_of(message.clock));
    if (histories_) {
        where.history.push_back(message);
        if (where.history.size() > 60'000) fail("a location has too many stores");
        if (message.view != 0) hash += hash_of_view(views_[message.view]);
        if (message.ordered != 0) hash = mix(hash, hash_of_view(views_[message.ordered]));
        hash_ += mix(hash, where.history.size());
    } else {
        where.history.back() = message;
        hash_ += hash - where.hash;
        where.hash = hash;
    }
    std::memcpy(where.at, &message.value, where.size);
}

std::uint64_t Memory::hash_of_view(const View& view) const noexcept {
    std::uint64_t hash = 0;
    for (std::size_t i = 1; i < locations_.size(); ++i) {
        if (view[i] != 0) hash += mix(offset_of(locations_[i].at), view[i]);
    }
    return hash;
}

void Memory::raise(View& view, const View& by, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) view[i] = std::max(view[i], by[i]);
}

std::uint32_t Memory::new_view() {
    if (views_used_ == views_.size()) views_.resize(views_.size() * 2);
    views_[views_used_].fill(0);
    return static_cast<std::uint32_t>(views_used_++);
}

/// This actor's next seq_cst operation comes behind all that were executed.
void Memory::order_now(int actor) { raise(known_[actor].ordered, ordered_, locations_.size()); }

/// What whoever reads this actor's next store there comes behind.
std::uint32_t Memory::ordered_by(int actor, const Location& where) {
    const std::uint32_t before = where.history.back().ordered;
    const View& mine = known_[actor].ordered;
    bool known = true;
    for (std::size_t i = 1; i < locations_.size(); ++i) {
        known = known && mine[i] <= views_[before][i];
    }
    if (known) return before;
    const std::uint32_t view = new_view();
    views_[view] = views_[before];
    raise(views_[view], mine, locations_.size());
    return view;
}

/// The message of a store, as the actor's next one in that history.
Memory::Message Memory::message_of(int actor, Location& where, std::uint64_t value, bool release,
                                   const Message* carried) {
    Message message{cut(value, where.size), {}, 0, 0};
    if (carried != nullptr) message = {message.value, carried->clock, carried->view, 0};
    if (histories_) {
        message.ordered = ordered_by(actor, where);
        known_[actor].seen[where.index] = static_cast<std::uint16_t>(where.history.size());
    }
    const Knowledge& carries = release ? known_[actor] : fenced_[actor];
    if (!release && carries.clock[actor] == 0) return message;
    join(message.clock, carries.clock);
    if (release) ++known_[actor].clock[actor];
    if (histories_) {
        const std::uint32_t view = new_view();
        const View& older = views_[message.view];
        for (std::size_t i = 0; i < locations_.size(); ++i) {
            views_[view][i] = std::max(carries.seen[i], older[i]);
        }
        message.view = view;
    }
    return message;
}

void Memory::take_over(int actor, const Message& message) {
    join(known_[actor].clock, message.clock);
    if (message.view == 0) return;
    raise(known_[actor].seen, views_[message.view], locations_.size());
    raise(known_[actor].ordered, views_[message.ordered], locations_.size());
}

std::size_t Memory::oldest_visible(int actor, const Location& where,
                                   std::memory_order order) const {
    const Knowledge& known = known_[actor];
    const std::uint16_t seen = known.seen[where.index];
    if (order != std::memory_order_seq_cst) return seen;
    return std::max(seen, known.ordered[where.index]);
}

void Memory::touch_seq_cst(Location& where, std::size_t stamp) {
    std::uint16_t& newest = ordered_[where.index];
    if (stamp <= newest) return;
    hash_ += mix(offset_of(where.at), stamp) - mix(offset_of(where.at), newest);
    newest = static_cast<std::uint16_t>(stamp);
}

std::uint64_t Memory::read_at(int actor, Location& where, std::size_t stamp,
                              std::memory_order order) {
    auto& seen = known_[actor].seen[where.index];
    seen = std::max(seen, static_cast<std::uint16_t>(stamp));
    const Message message = where.history[stamp];
    if (acquires(order)) take_over(actor, message);
    if (!histories_ || order != std::memory_order_seq_cst) return message.value;
    if (stamp < ordered_[where.index]) {
        // It stands before whoever touched the newer one.
        raise(known_[actor].ordered, views_[message.ordered], locations_.size());
    } else {
        touch_seq_cst(where, stamp);
        order_now(actor);
    }
    return message.value;
}

std::uint64_t Memory::load(int actor, const void* at, unsigned size, std::memory_order order) {
    Location& where = location(at, size);
    for (auto own = buffer_[actor].rbegin(); own != buffer_[actor].rend(); ++own) {
        if (own->where == &where) return own->message.value;
    }
    return read_at(actor, where, choose_store(actor, where, order), order);
}

/// The store that a load returns: the newest, or an older one as far as the bound goes.
std::size_t Memory::choose_store(int actor, const Location& where, std::memory_order order) {
    const std::size_t newest = where.history.size() - 1;
    const std::size_t oldest = oldest_visible(actor, where, order);
    // Message 0 was there before the execution: a lag is kept as one more than its number.
    auto& lags = known_[actor].lags[where.index];
    const bool again = lags != 0 && lags - 1U >= oldest && lags - 1U < newest;
    std::size_t chosen = newest;
    if (stale_left_ > 0) {
        chosen -= world().choose(static_cast<std::uint32_t>(newest - oldest + 1));
        if (chosen != newest && !(again && chosen == lags - 1U)) --stale_left_;
    } else if (again && world().choose(2) != 0) {
        chosen = lags - 1U;
    }
    lags = lag_ && chosen != newest ? static_cast<std::uint16_t>(chosen + 1) : std::uint16_t{0};
    return chosen;
}

void Memory::store(int actor, void* at, unsigned size, std::uint64_t value,
                   std::memory_order order) {
    Location& where = location(at, size);
    if (histories_ && order == std::memory_order_seq_cst) {
        touch_seq_cst(where, where.history.size());
        order_now(actor);
    }
    const Message message = message_of(actor, where, value, releases(order), nullptr);
    if (buffers_ && order != std::memory_order_seq_cst) {
        buffer_[actor].push_back({&where, message});
        return;
    }
    flush_all(actor);
    append(where, message);
}

std::uint64_t Memory::update(int actor, void* at, unsigned size, Rmw what, std::uint64_t operand,
                             std::memory_order order) {
    flush_all(actor);
    Location& where = location(at, size);
    const Message read = where.history.back();
    if (acquires(order)) take_over(actor, read);
    if (histories_ && order == std::memory_order_seq_cst) {
        touch_seq_cst(where, where.history.size());
        order_now(actor);
    }
    append(where,
           message_of(actor, where, apply(what, read.value, operand), releases(order), &read));
    return read.value;
}

bool Memory::compare_exchange(int actor, void* at, unsigned size, std::uint64_t& expected,
                              std::uint64_t desired, std::memory_order success,
                              std::memory_order failure) {
    flush_all(actor);
    Location& where = location(at, size);
    const std::size_t newest = where.history.size() - 1;
    std::size_t read = newest;
    if (stale_left_ > 0) {
        // It may fail because it reads an older value; it never succeeds on one.
        std::vector<std::size_t> older;
        for (std::size_t s = oldest_visible(actor, where, failure); s < newest; ++s) {
            if (where.history[s].value != expected) older.push_back(s);
        }
        const std::uint32_t which = world().choose(static_cast<std::uint32_t>(older.size() + 1));
        if (which != 0) {
            read = older[which - 1];
            --stale_left_;
        }
    }
    if (read == newest && where.history[newest].value == expected) {
        update(actor, at, size, Rmw::exchange, desired, success);
        return true;
    }
    expected = read_at(actor, where, read, failure);
    return false;
}

void Memory::kernel_store(void* at, unsigned size, std::uint64_t value) {
    Location& where = location(at, size);
    append(where, {cut(value, size), {}, 0, where.history.back().ordered});
}

void Memory::learn(int actor, const Knowledge& from) {
    join(known_[actor].clock, from.clock);
    for (std::size_t i = 0; histories_ && i < locations_.size(); ++i) {
        known_[actor].seen[i] = std::max(known_[actor].seen[i], from.seen[i]);
        known_[actor].ordered[i] = std::max(known_[actor].ordered[i], from.ordered[i]);
    }
}

void Memory::teach(int actor, Knowledge& into) {
    join(into.clock, known_[actor].clock);
    ++known_[actor].clock[actor];
    for (std::size_t i = 0; histories_ && i < locations_.size(); ++i) {
        into.seen[i] = std::max(into.seen[i], known_[actor].seen[i]);
        into.ordered[i] = std::max(into.ordered[i], known_[actor].ordered[i]);
    }
}

void Memory::barrier(const std::vector<int>& actors) {
    for (const int a : actors) flush_all(a);
    if (!histories_) return;
    // Everybody publishes, then everybody takes over; clocks stay, for C++ knows no such barrier.
    for (std::size_t i = 1; i < locations_.size(); ++i) {
        Location& where = locations_[i];
        if (where.execution != execution_) continue;
        std::uint16_t stamp = ordered_[i];
        for (const int a : actors) stamp = std::max(stamp, known_[a].seen[i]);
        touch_seq_cst(where, stamp);
        for (const int a : actors) known_[a].seen[i] = stamp;
    }
    for (const int a : actors) order_now(a);
}

void Memory::release_fence(int actor) {
    fenced_[actor] = known_[actor];
    ++known_[actor].clock[actor];
}

void Memory::flush_one(int actor) {
    const Buffered oldest = buffer_[actor].front();
    buffer_[actor].pop_front();
    append(*oldest.where, oldest.message);
}

void Memory::flush_all(int actor) {
    while (!buffer_[actor].empty()) flush_one(actor);
}

std::uint64_t Memory::hash() const noexcept { return mix(hash_, stale_left_); }

std::uint64_t Memory::hash_of_actor(int actor) const noexcept {
    std::uint64_t h = hash_of(known_[actor].clock);
    for (const Buffered& one : buffer_[actor]) {
        h = mix(mix(h, offset_of(one.where->at)), one.message.value);
        h = mix(h, hash_of(one.message.clock));
    }
    std::uint64_t seen = 0;
    for (std::size_t i = 1; histories_ && i < locations_.size(); ++i) {
        if (known_[actor].seen[i] != 0) {
            seen += mix(offset_of(locations_[i].at), known_[actor].seen[i]);
        }
        // What it has seen itself bounds its loads as well.
        if (known_[actor].ordered[i] > known_[actor].seen[i]) {
            seen += mix(~offset_of(locations_[i].at), known_[actor].ordered[i]);
        }
        if (known_[actor].lags[i] != 0) {
            seen += mix(offset_of(locations_[i].at) << 20, known_[actor].lags[i]);
        }
    }
    if (fenced_[actor].clock[actor] == 0) return mix(h, seen);
    std::uint64_t fenced = hash_of(fenced_[actor].clock);
    for (std::size_t i = 1; histories_ && i < locations_.size(); ++i) {
        if (fenced_[actor].seen[i] != 0) {
            fenced += mix(offset_of(locations_[i].at), fenced_[actor].seen[i]);
        }
    }
    return mix(mix(h, seen), fenced);
}

}  // namespace model
