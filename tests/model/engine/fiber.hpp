// fiber.hpp: stacks to switch between, on one thread.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <memory>

namespace model {

/// A stack of its own, started anew as often as wanted; what was on it is simply forgotten.
class Fiber {
public:
    /// The next `resume` runs `entry(argument)`, which must never return.
    void restart(void (*entry)(void*), void* argument);
    /// Leaves `from` where it is and goes on here.
    void resume(Fiber& from);

private:
    static constexpr std::size_t stack_bytes = 256 * 1024;
    static void begin();

    jmp_buf place_;
    ucontext_t fresh_;
    bool started_ = true;  // the main one is running
    void (*entry_)(void*) = nullptr;
    void* argument_ = nullptr;
    std::unique_ptr<std::byte[]> stack_;
};

}  // namespace model
