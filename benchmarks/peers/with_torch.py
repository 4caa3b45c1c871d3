"""PyTorch: a plain loop over device tensors, as its tuning guide advises; optionally through `torch.compile`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads import Workload

    from . import Epoch


def load() -> None:
    import torch

    torch.set_num_threads(int(os.environ.get("BENCHMARK_THREADS", "0")) or torch.get_num_threads())


def model_of(workload: Workload) -> Any:
    import torch
    import workloads as w
    from torch import nn

    class LastOutput(nn.Module):
        def __init__(self, symbols: int, units: int) -> None:
            super().__init__()
            self.lstm = nn.LSTM(symbols, units, batch_first=True)
            self.symbols = symbols
            nn.init.xavier_uniform_(self.lstm.weight_ih_l0)
            nn.init.orthogonal_(self.lstm.weight_hh_l0)
            nn.init.zeros_(self.lstm.bias_ih_l0)
            nn.init.zeros_(self.lstm.bias_hh_l0)
            with torch.no_grad():
                self.lstm.bias_ih_l0[units : 2 * units] = 1  # gates i, f, g, o; PyTorch has two biases, which add

        def forward(self, x: Any) -> Any:
            return self.lstm(nn.functional.one_hot(x, self.symbols).float())[0][:, -1]

    functions = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
    shape, layers = workload.shape, []
    for layer in workload.layers:
        match layer:
            case w.Dense(units, activation):
                layers.append(nn.Linear(shape[-1], units))
                if activation:
                    layers.append(functions[activation]())
                shape = (units,)
            case w.Dropout(rate):
                layers.append(nn.Dropout(rate))
            case w.Conv(filters):
                layers += [nn.Conv2d(shape[-1], filters, 3), nn.ReLU()]
                shape = (shape[0] - 2, shape[1] - 2, filters)
            case w.Pool():
                layers.append(nn.MaxPool2d(2))
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            case w.Flatten():
                layers.append(nn.Flatten())
                shape = (shape[0] * shape[1] * shape[2],)
            case w.LSTM(units, symbols):
                layers.append(LastOutput(symbols, units))
                shape = (units,)
    for module in layers:
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return nn.Sequential(*layers)


def build(workload: Workload, x: Any, y: Any, seed: int, *, compiled: bool = False) -> Epoch:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    model = model_of(workload)
    # Class and symbol numbers are int64 throughout PyTorch.
    x = torch.from_numpy(x) if x.dtype.kind == "f" else torch.from_numpy(x).long()
    y = torch.from_numpy(y) if workload.loss == "sigmoid" else torch.from_numpy(y).long()
    if len(workload.shape) == 3:
        model = model.to(memory_format=torch.channels_last)
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    criterion = nn.BCEWithLogitsLoss() if workload.loss == "sigmoid" else nn.CrossEntropyLoss()
    if (
        workload.optimizer == "rmsprop"
    ):  # without a fused kernel; epsilon is added outside the root here, inside in Keras
        optimizer = torch.optim.RMSprop(model.parameters(), workload.rate, alpha=0.9, eps=1e-7**0.5, foreach=True)
    elif workload.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), workload.rate, eps=1e-7, fused=True)
    else:
        optimizer = torch.optim.SGD(model.parameters(), workload.rate, fused=True)

    def loss_of(rows: Any) -> Any:
        return criterion(model(x.index_select(0, rows)), y.index_select(0, rows))

    update = optimizer.step
    if compiled:
        # The gathering of the batch goes along; backward is compiled with it. Compiling the optimizer as well pays
        # where it has no fused kernel (RMSprop: 0.42 against 0.54 ms a step), and costs where it has one.
        loss_of = torch.compile(loss_of)
        if workload.optimizer == "rmsprop":
            update = torch.compile(lambda: optimizer.step(), fullgraph=False)

    def epoch() -> float:
        total = torch.zeros(())
        for rows in torch.randperm(workload.rows).split(workload.batch):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(rows)
            loss.backward()
            update()
            total += loss.detach()
        return float(total) / workload.steps

    return epoch
