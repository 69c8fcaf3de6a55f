// specifications.hpp: sequential forms that histories are held against.
#pragma once

#include <cstdint>
#include <deque>

namespace support {

/// One number that is read, written, and compared and exchanged.
struct RegisterSpec {
    enum class Kind : std::uint8_t { read, write, compare_exchange };
    struct Operation {
        Kind kind = Kind::read;
        std::int64_t expected = 0;  // of compare_exchange
        std::int64_t desired = 0;   // of write and compare_exchange
        std::int64_t found = 0;     // the answer: what was there
        bool done = false;          // the answer of compare_exchange
    };
    using State = std::int64_t;

    static std::uint64_t hash(State state) { return static_cast<std::uint64_t>(state); }
    static bool apply(State& state, const Operation& operation, bool answered) {
        switch (operation.kind) {
            case Kind::read: return !answered || operation.found == state;
            case Kind::write: state = operation.desired; return true;
            case Kind::compare_exchange: break;
        }
        const bool done = state == operation.expected;
        if (answered && (done != operation.done || (!done && operation.found != state))) {
            return false;
        }
        if (done) state = operation.desired;
        return true;
    }
};

/// First in, first out; a get of an empty one says so.
struct QueueSpec {
    enum class Kind : std::uint8_t { put, get };
    struct Operation {
        Kind kind = Kind::put;
        std::int64_t value = 0;  // of put, and the answer of get
        bool empty = false;      // the answer of get
    };
    using State = std::deque<std::int64_t>;

    static std::uint64_t hash(const State& state) {
        std::uint64_t key = state.size();
        for (const auto value : state) {
            key = (key ^ static_cast<std::uint64_t>(value)) * 0x100000001b3;
        }
        return key;
    }
    static bool apply(State& state, const Operation& operation, bool answered) {
        if (operation.kind == Kind::put) {
            state.push_back(operation.value);
            return true;
        }
        if (answered && operation.empty) return state.empty();
        if (state.empty()) return !answered;
        if (answered && state.front() != operation.value) return false;
        state.pop_front();
        return true;
    }
};

}  // namespace support
