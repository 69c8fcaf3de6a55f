// programs.hpp: what the small programs that test the engine itself are written with.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <model/engine/door.hpp>
#include <model/engine/engine.hpp>

namespace model {

template <class T>
using Word = Atomic<T, T>;

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;
constexpr auto seq_cst = std::memory_order_seq_cst;

/// Where the State of the last small program lies.
inline void*& shared_memory() {
    static void* memory = nullptr;
    return memory;
}

/// A program whose whole memory is one State, all zero at first; every actor is a process.
template <class State>
Program small_program(std::string name, std::vector<std::function<void(State&)>> actors,
                      std::function<void(State&)> check = {}) {
    alignas(64) static unsigned char memory[sizeof(State)];
    static State& state = *reinterpret_cast<State*>(memory);
    share(memory, sizeof memory);
    shared_memory() = memory;
    Program program;
    program.name = std::move(name);
    program.begin = [actors] {
        std::memset(memory, 0, sizeof memory);
        std::vector<Actor> cast;
        for (std::size_t i = 0; i < actors.size(); ++i) {
            cast.push_back({std::string(1, static_cast<char>('a' + i)), static_cast<int>(i),
                            [code = actors[i]] { code(state); }});
        }
        return cast;
    };
    if (check) program.check = [check] { check(state); };
    return program;
}

}  // namespace model
