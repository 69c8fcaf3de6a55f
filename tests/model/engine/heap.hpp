// heap.hpp: operator new for executions that end anywhere.
//
// A killed actor runs no destructor. What actors allocate comes from one block that is taken back
// as a whole; what the engine allocates for itself comes from the ordinary heap.
#pragma once

namespace model::heap {

enum class Of { engine, execution };

/// Who allocates from here on.
void belongs_to(Of owner) noexcept;
[[nodiscard]] Of owner() noexcept;
/// Everything that executions have allocated is gone.
void reset() noexcept;

/// The engine at work on behalf of an actor.
class EngineScope {
public:
    EngineScope() noexcept { belongs_to(Of::engine); }
    ~EngineScope() { belongs_to(before_); }
    EngineScope(const EngineScope&) = delete;
    EngineScope& operator=(const EngineScope&) = delete;

private:
    Of before_ = owner();
};

}  // namespace model::heap
