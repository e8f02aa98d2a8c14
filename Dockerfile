# neuronscope with the explorer, as a user without rights:
#   docker build -t neuronscope .
#   docker run --rm -v "$PWD":/work neuronscope demo
#   docker run --rm -v "$PWD":/work -v MODELS:/models:ro neuronscope locate photo.jpg cat --box 10,20,200,180 --model /models/llava
FROM python:3.13-slim
RUN useradd --create-home user
COPY . /source
# A build of torch for CUDA: --build-arg CONSTRAINTS=/dev/null
ARG CONSTRAINTS=/source/constraints.txt
RUN pip install --no-cache-dir -c "$CONSTRAINTS" '/source[app,metrics,edit,nouns]' && rm -rf /source
USER user
WORKDIR /work
ENTRYPOINT ["neuronscope"]
CMD ["--help"]
