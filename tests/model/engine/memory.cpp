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
    hash_ = 0;
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
        found.seq_cst = 0;
        found.hash = 0;
        found.history.assign(1, {raw(at, size), {}, 0});
    }
    // Plain stores to the same bytes: seen by everybody, ordered with nothing.
    const std::uint64_t value = raw(at, found.size);
    if (value != found.history.back().value) append(found, {value, {}, 0});
    return found;
}

void Memory::append(Location& where, const Message& message) {
    std::uint64_t hash = mix(mix(offset_of(where.at), message.value), hash_of(message.clock));
    if (histories_) {
        where.history.push_back(message);
        if (where.history.size() > 60'000) fail("a location has too many stores");
        for (std::size_t i = 1; message.view != 0 && i < locations_.size(); ++i) {
            const std::uint16_t stamp = views_[message.view][i];
            if (stamp != 0) hash += mix(offset_of(locations_[i].at), stamp);
        }
        hash_ += mix(hash, where.history.size());
    } else {
        where.history.back() = message;
        hash_ += hash - where.hash;
        where.hash = hash;
    }
    std::memcpy(where.at, &message.value, where.size);
}

std::uint32_t Memory::new_view() {
    if (views_used_ == views_.size()) views_.resize(views_.size() * 2);
    views_[views_used_].fill(0);
    return static_cast<std::uint32_t>(views_used_++);
}

/// The message of a store, as the actor's next one in that history.
Memory::Message Memory::message_of(int actor, Location& where, std::uint64_t value, bool release,
                                   const Message* carried) {
    Message message{cut(value, where.size), {}, 0};
    if (carried != nullptr) message = {message.value, carried->clock, carried->view};
    if (histories_) {
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
    for (std::size_t i = 0; i < locations_.size(); ++i) {
        auto& seen = known_[actor].seen[i];
        seen = std::max(seen, views_[message.view][i]);
    }
}

std::size_t Memory::oldest_visible(int actor, const Location& where,
                                   std::memory_order order) const {
    const std::size_t seen = known_[actor].seen[where.index];
    return order == std::memory_order_seq_cst ? std::max<std::size_t>(seen, where.seq_cst) : seen;
}

void Memory::touch_seq_cst(Location& where, std::size_t stamp, std::memory_order order) {
    if (order != std::memory_order_seq_cst || stamp <= where.seq_cst) return;
    hash_ += mix(offset_of(where.at), stamp) - mix(offset_of(where.at), where.seq_cst);
    where.seq_cst = static_cast<std::uint16_t>(stamp);
}

std::uint64_t Memory::read_at(int actor, Location& where, std::size_t stamp,
                              std::memory_order order) {
    auto& seen = known_[actor].seen[where.index];
    seen = std::max(seen, static_cast<std::uint16_t>(stamp));
    const Message message = where.history[stamp];
    if (acquires(order)) take_over(actor, message);
    touch_seq_cst(where, stamp, order);
    return message.value;
}

std::uint64_t Memory::load(int actor, const void* at, unsigned size, std::memory_order order) {
    Location& where = location(at, size);
    for (auto own = buffer_[actor].rbegin(); own != buffer_[actor].rend(); ++own) {
        if (own->where == &where) return own->message.value;
    }
    const std::size_t newest = where.history.size() - 1;
    std::size_t back = 0;
    if (stale_left_ > 0) {
        const std::size_t oldest = oldest_visible(actor, where, order);
        back = world().choose(static_cast<std::uint32_t>(newest - oldest + 1));
        if (back != 0) --stale_left_;
    }
    return read_at(actor, where, newest - back, order);
}

void Memory::store(int actor, void* at, unsigned size, std::uint64_t value,
                   std::memory_order order) {
    Location& where = location(at, size);
    const Message message = message_of(actor, where, value, releases(order), nullptr);
    if (buffers_ && order != std::memory_order_seq_cst) {
        buffer_[actor].push_back({&where, message});
        return;
    }
    flush_all(actor);
    append(where, message);
    touch_seq_cst(where, where.history.size() - 1, order);
}

std::uint64_t Memory::update(int actor, void* at, unsigned size, Rmw what, std::uint64_t operand,
                             std::memory_order order) {
    flush_all(actor);
    Location& where = location(at, size);
    const Message read = where.history.back();
    if (acquires(order)) take_over(actor, read);
    append(where,
           message_of(actor, where, apply(what, read.value, operand), releases(order), &read));
    touch_seq_cst(where, where.history.size() - 1, order);
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
    append(location(at, size), {cut(value, size), {}, 0});
}

void Memory::learn(int actor, const Knowledge& from) {
    join(known_[actor].clock, from.clock);
    for (std::size_t i = 0; histories_ && i < locations_.size(); ++i) {
        known_[actor].seen[i] = std::max(known_[actor].seen[i], from.seen[i]);
    }
}

void Memory::teach(int actor, Knowledge& into) {
    join(into.clock, known_[actor].clock);
    ++known_[actor].clock[actor];
    for (std::size_t i = 0; histories_ && i < locations_.size(); ++i) {
        into.seen[i] = std::max(into.seen[i], known_[actor].seen[i]);
    }
}

void Memory::barrier(const std::vector<int>& actors) {
    for (const int a : actors) flush_all(a);
    if (!histories_) return;
    // Everybody publishes, then everybody takes over; clocks stay, for C++ knows no such barrier.
    for (std::size_t i = 1; i < locations_.size(); ++i) {
        Location& where = locations_[i];
        if (where.execution != execution_) continue;
        std::size_t stamp = where.seq_cst;
        for (const int a : actors) stamp = std::max<std::size_t>(stamp, known_[a].seen[i]);
        touch_seq_cst(where, stamp, std::memory_order_seq_cst);
        for (const int a : actors) known_[a].seen[i] = static_cast<std::uint16_t>(stamp);
    }
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
