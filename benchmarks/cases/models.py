"""Training steps of whole networks: a cubic, the tutorial's CNN, ResNet-18, a small GPT, an LSTM.

The networks are written out here because both sides must run the same text.
"""

from __future__ import annotations

from cases import case


def training_step(model, optimizer, loss_of):
    """What is timed: gradients cleared, forward, backward, update."""

    def step():
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()

    return step


@case("cubic regression, 10,000 rows, 1-20-1, step", at_most=0.7)
def cubic_step(torch):
    nn = torch.nn
    torch.manual_seed(0)
    x = torch.rand(10000, 1) * 4 - 2
    y = x**3 - 2 * x + 0.3 * torch.randn(10000, 1)
    model = nn.Sequential(nn.Linear(1, 20), nn.ReLU(), nn.Linear(20, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss_function = nn.MSELoss()
    return training_step(model, optimizer, lambda model: loss_function(model(x), y))


def mnist_cnn(nn):
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.MaxPool2d(2, 2), nn.Conv2d(32, 64, 5), nn.MaxPool2d(2, 2),
        nn.Dropout2d(0.1), nn.AdaptiveMaxPool2d((1, 1)), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(),
        nn.Linear(32, 10),
    )  # fmt: skip


@case("the tutorial's MNIST CNN, batch 128, step", at_most=0.90)
def mnist_cnn_step(torch):
    torch.manual_seed(0)
    images, labels = torch.randn(128, 1, 28, 28), torch.randint(0, 10, (128,))
    model = mnist_cnn(torch.nn)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss_function = torch.nn.CrossEntropyLoss()
    return training_step(model, optimizer, lambda model: loss_function(model(images), labels))


def resnet18(torch):
    """ResNet-18 (He et al. 2016) as it is used on 32 x 32 images: a 3 x 3 stem without pooling."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.shortcut = None
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x):
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            out += x if self.shortcut is None else self.shortcut(x)
            return self.relu(out)

    stages = []
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        stages += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


@case("ResNet-18 on 32 x 32 images, batch 64, step", at_most=1.00)
def resnet18_step(torch):
    torch.manual_seed(0)
    images, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    model = resnet18(torch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_function = torch.nn.CrossEntropyLoss()
    return training_step(model, optimizer, lambda model: loss_function(model(images), labels))


def gpt(torch, layers=4, width=128, length=128, heads=4, vocabulary=65):
    """A decoder of pre-normalised blocks, as GPT-2 (Radford et al. 2019) has them."""
    nn, functional = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.projections = nn.Linear(width, 3 * width)
            self.output = nn.Linear(width, width)

        def forward(self, x):
            batch = x.size(0)
            q, k, v = self.projections(x).split(width, dim=2)
            q, k, v = (
                part.view(batch, length, heads, width // heads).transpose(1, 2)
                for part in (q, k, v)
            )
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.output(y.transpose(1, 2).contiguous().view(batch, length, width))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(width), Attention()
            self.norm2 = nn.LayerNorm(width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.positions = nn.Embedding(length, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, ids):
            x = self.tokens(ids) + self.positions(torch.arange(ids.size(1)))
            return self.head(self.norm(self.blocks(x)))

    return Decoder()


@case("small GPT: 4 layers, 128 wide, 128 tokens, batch 16, step", at_most=1.00)
def gpt_step(torch):
    torch.manual_seed(0)
    text = torch.randint(0, 65, (16, 129))
    ids, following = text[:, :-1].contiguous(), text[:, 1:].contiguous().view(-1)
    model = gpt(torch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)

    def loss_of(model):
        logits = model(ids)
        return torch.nn.functional.cross_entropy(logits.view(-1, logits.size(-1)), following)

    return training_step(model, optimizer, loss_of)


def lstm_classifier(torch, size=128, layers=2, classes=10):
    """A sequence-first LSTM whose last output decides the class."""
    nn = torch.nn

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = nn.LSTM(size, size, layers)
            self.head = nn.Linear(size, classes)

        def forward(self, x):
            outputs, _ = self.recurrent(x)
            return self.head(outputs[-1])

    return Classifier()


@case("LSTM, 2 layers x 128, sequence 64, batch 32, step")
def lstm_step(torch):
    torch.manual_seed(0)
    sequences, labels = torch.randn(64, 32, 128), torch.randint(0, 10, (32,))
    model = lstm_classifier(torch)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss_function = torch.nn.CrossEntropyLoss()
    return training_step(model, optimizer, lambda model: loss_function(model(sequences), labels))
