"""How off-policy agents learn."""

from dataclasses import dataclass

from metaobj.common.errors import MOST, check_numbers, check_widths


@dataclass(frozen=True)
class AgentSettings:
    """How an off-policy agent learns, whatever its rule."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of the policy and of the critics."""
    layer_norm: bool = True
    """Normalise each hidden layer before its ReLU."""
    replay_steps: int = 100_000
    """Environment steps that the replay holds; the oldest go first."""
    random_steps: int = 1000
    """Environment steps with uniform actions before the first update."""
    windows: int = 32
    """W, windows per batch; where single steps are drawn, W T of them."""
    window_steps: int = 20
    """T, steps per window."""
    critic_updates: int = 2
    """Critic updates per update of the policy."""
    policy_updates: int = 1
    """Updates of the policy, with those of its critics, per rollout: the ratio of learning to acting."""
    target_step_size: float = 0.005
    """tau, how far the targets go towards their networks in each critic update."""
    twin: bool = True
    """Two critics, of which targets take the smaller one; otherwise one."""
    target_noise: float = 0.2
    """Standard deviation of the noise on the target policy's actions."""
    target_noise_clip: float = 0.5
    """Bound of the noise on the target policy's actions."""
    policy_gradient_clip: float = 1.0
    """The policy's gradient is scaled to at most this global norm; 0 leaves it as it is."""
    saturation_penalty: float = 0.0
    """Weight of the squared excess of pre-activations over 1 in the policy's loss: keeps tanh from going flat."""
    scale_rewards: bool = True
    """Divide rewards by their root mean square in the random steps, so that values are of like size everywhere."""
    time_limits_end: bool = False
    """Treat a truncation as a termination (the published code does)."""
    end_bonus: float = 0.0
    """Added to the reward of a termination in the critics' targets (1 in the published code)."""
    test_environments: int = 8
    """Environments in which the policy is tested without noise."""

    def __post_init__(self) -> None:
        sizes = "replay_steps random_steps windows window_steps critic_updates policy_updates test_environments"
        check_numbers(self, sizes, at_least=1, at_most=MOST, prefix="agent.")
        check_numbers(self, "target_step_size", above=0, at_most=1, prefix="agent.")
        not_negative = "target_noise target_noise_clip policy_gradient_clip saturation_penalty"
        check_numbers(self, not_negative, at_least=0, prefix="agent.")
        check_numbers(self, "end_bonus", prefix="agent.")
        check_widths(self, "hidden", prefix="agent.")

    def random_rows(self, num_environments: int, rollout_steps: int) -> int:
        """Time steps with uniform actions: enough for a window, and whole rollouts."""
        wanted = max(self.window_steps, -(-self.random_steps // num_environments))
        return -(-wanted // rollout_steps) * rollout_steps
