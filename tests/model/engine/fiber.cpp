// fiber.cpp: a context is made by ucontext and switched by setjmp, which makes no system call.
#include "fiber.hpp"

namespace model {

namespace {
Fiber* starting = nullptr;
}

void Fiber::begin() {
    Fiber* self = starting;
    self->entry_(self->argument_);
}

void Fiber::restart(void (*entry)(void*), void* argument) {
    if (stack_ == nullptr) {
        stack_ = std::make_unique<std::byte[]>(stack_bytes);
        ::getcontext(&fresh_);
        fresh_.uc_stack.ss_sp = stack_.get();
        fresh_.uc_stack.ss_size = stack_bytes;
        fresh_.uc_link = nullptr;
    }
    entry_ = entry;
    argument_ = argument;
    started_ = false;
    ::makecontext(&fresh_, &Fiber::begin, 0);
}

void Fiber::resume(Fiber& from) {
    if (_setjmp(from.place_) != 0) return;
    if (started_) _longjmp(place_, 1);
    started_ = true;
    starting = this;
    ::setcontext(&fresh_);
}

}  // namespace model
